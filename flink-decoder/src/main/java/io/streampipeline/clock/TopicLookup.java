package io.streampipeline.clock;

import java.util.Collection;
import java.util.Map;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/** Questions to the broker. Each is bounded in time and may fail; for one thread. */
interface TopicLookup extends AutoCloseable {
    /** The newest Kafka timestamp (ms) of all partitions of the topic, or {@link Look#NOTHING}. */
    long newest() throws Exception;

    /** The high watermark of each partition. */
    Map<TopicPartition, Long> ends(Collection<TopicPartition> partitions) throws Exception;

    /** For each partition where a committed record stands next at or after the offset given, or would. */
    Map<TopicPartition, Long> next(Map<TopicPartition, Long> offsets, Map<TopicPartition, Long> ends)
            throws Exception;

    @Override
    void close();
}
