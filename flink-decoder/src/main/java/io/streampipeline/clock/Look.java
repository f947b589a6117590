package io.streampipeline.clock;

import java.util.Map;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/**
 * What a look at the topic found.
 *
 * @param newest the newest Kafka timestamp (ms) of all its partitions, found before {@code ends} were looked up: what a
 *     partition brings beyond its end was appended after that record; {@link #NOTHING} when there is none
 * @param ends the high watermarks: records of open transactions count, they have a timestamp already
 * @param empty where nothing to be read is left although the end is further on: markers and aborted records
 * @param nanos when the ends were looked up, in nanoseconds of a clock that never runs back
 */
record Look(
        long newest, Map<TopicPartition, Long> ends, Map<TopicPartition, Stretch> empty, long nanos) {
    static final long NOTHING = Long.MIN_VALUE;
    static final Look NONE = new Look(NOTHING, Map.of(), Map.of(), 0);

    /** No record that is to be read has an offset in [from, to). */
    record Stretch(long from, long to) {}

    /** Whether a reader at {@code position} has read all that the partition held. */
    boolean atEnd(TopicPartition partition, long position) {
        Long end = ends.get(partition);
        if (end == null) {
            return false;
        }
        Stretch stretch = empty.get(partition);
        return position >= end || stretch != null && stretch.from() == position && stretch.to() >= end;
    }
}
