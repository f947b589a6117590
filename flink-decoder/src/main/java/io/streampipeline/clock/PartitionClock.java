package io.streampipeline.clock;

import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/** How far one partition was read, and whether it need not be waited for. For one thread. */
final class PartitionClock {
    /** No watermark: the partition is to be waited for. No end: none is passed. */
    static final long NONE = Long.MIN_VALUE;

    private static final long NOWHERE = -1;

    private final TopicPartition partition;
    private final ClockOptions options;
    private long position;
    private long newest = Look.NOTHING;

    /** T of the record that passes the next end of a window. */
    private long passing = Long.MIN_VALUE;

    /** Where a look found it at its end, and the first of those looks. */
    private long restPosition = NOWHERE;

    private long restNanos;

    /** @param position the offset of the first record to be read */
    PartitionClock(TopicPartition partition, long position, ClockOptions options) {
        this.partition = partition;
        this.position = position;
        this.options = options;
    }

    TopicPartition partition() {
        return partition;
    }

    /** The offset of the next record. */
    long position() {
        return position;
    }

    /** A record was handed on; {@code t} is its Kafka timestamp in ms. */
    void read(long offset, long t) {
        position = offset + 1;
        if (t > newest) {
            newest = t;
        }
    }

    /**
     * The newest end of a window (ms) that a record with T {@code t} is the first of its partition to pass, or {@link
     * #NONE}: a window can be closed when the watermark is at its last millisecond.
     */
    long passes(long t) {
        if (t < passing) {
            return NONE;
        }
        long slide = options.slideMs();
        long end = Math.floorDiv(t - options.lagMs() + 1, slide) * slide;
        passing = end + slide + options.lagMs() - 1;
        return end;
    }

    /** The watermark (ms) of the idle partition, or {@link #NONE}. */
    long watermark(Look look) {
        if (!look.atEnd(partition, position)) {
            restPosition = NOWHERE;
            return NONE;
        }
        if (restPosition != position) {
            restPosition = position;
            restNanos = look.nanos();
        }
        boolean behind = look.newest() != Look.NOTHING && newest <= look.newest() - options.idleMs();
        boolean rested = !options.byWallClock() || look.nanos() - restNanos >= options.idleNanos();
        return behind && rested ? look.newest() - options.lagMs() : NONE;
    }
}
