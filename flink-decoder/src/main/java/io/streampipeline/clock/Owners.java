package io.streampipeline.clock;

import java.util.Collection;
import java.util.HashSet;
import java.util.Set;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/** Which subtasks get a partition at all, by the rule of Flink's {@code KafkaSourceEnumerator}. */
final class Owners {
    private Owners() {}

    static Set<Integer> of(Collection<TopicPartition> partitions, int subtasks) {
        Set<Integer> owners = new HashSet<>();
        for (TopicPartition partition : partitions) {
            int first = ((partition.topic().hashCode() * 31) & Integer.MAX_VALUE) % subtasks;
            owners.add((first + partition.partition()) % subtasks);
        }
        return owners;
    }
}
