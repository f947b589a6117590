package io.streampipeline.clock;

import java.io.Serializable;
import java.util.Set;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;

/**
 * The rule of a table's partition clocks.
 *
 * @param lagMs how far the watermark is behind the newest Kafka timestamp T
 * @param slideMs windows end at its multiples
 * @param idleMs a partition at its end is not waited for when its T is this far behind the newest of the topic
 * @param byWallClock whether it must also have stood there for {@code idleMs} of wall clock: T of a CreateTime topic
 *     does not say when a record was appended
 */
record ClockOptions(long lagMs, long slideMs, long idleMs, boolean byWallClock) implements Serializable {
    static final ConfigOption<Long> LAG_MS =
            ConfigOptions.key("streampipeline.clock.lag-ms")
                    .longType()
                    .noDefaultValue()
                    .withDescription("How far the watermark is behind the newest Kafka timestamp, in ms.");

    static final ConfigOption<Long> SLIDE_MS =
            ConfigOptions.key("streampipeline.clock.slide-ms")
                    .longType()
                    .noDefaultValue()
                    .withDescription("Windows end at its multiples, in ms.");

    static final ConfigOption<Long> IDLE_MS =
            ConfigOptions.key("streampipeline.clock.idle-ms")
                    .longType()
                    .noDefaultValue()
                    .withDescription("How far behind a partition at its end may be and still be waited for, in ms.");

    static final ConfigOption<Boolean> BY_WALL_CLOCK =
            ConfigOptions.key("streampipeline.clock.by-wall-clock")
                    .booleanType()
                    .noDefaultValue()
                    .withDescription("Whether it must also have stood there that long: true on CreateTime topics.");

    static final Set<ConfigOption<?>> ALL = Set.of(LAG_MS, SLIDE_MS, IDLE_MS, BY_WALL_CLOCK);

    static ClockOptions of(ReadableConfig options) {
        return new ClockOptions(
                options.get(LAG_MS),
                options.get(SLIDE_MS),
                options.get(IDLE_MS),
                options.get(BY_WALL_CLOCK));
    }

    long idleNanos() {
        return idleMs * 1_000_000;
    }
}
