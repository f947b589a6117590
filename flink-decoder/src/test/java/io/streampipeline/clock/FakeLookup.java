package io.streampipeline.clock;

import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/** A topic of our own making, with the questions asked. */
final class FakeLookup implements TopicLookup {
    long newest = Look.NOTHING;
    final Map<TopicPartition, Long> ends = new HashMap<>();

    /** Where the next committed record stands or would; else at the offset asked for. */
    final Map<TopicPartition, Long> next = new HashMap<>();

    final List<String> asked = new ArrayList<>();
    boolean broken;

    @Override
    public long newest() throws Exception {
        asked.add("newest");
        failWhenBroken();
        return newest;
    }

    @Override
    public Map<TopicPartition, Long> ends(Collection<TopicPartition> partitions) throws Exception {
        asked.add("ends");
        failWhenBroken();
        Map<TopicPartition, Long> found = new HashMap<>(ends);
        found.keySet().retainAll(partitions);
        return found;
    }

    @Override
    public Map<TopicPartition, Long> next(Map<TopicPartition, Long> offsets, Map<TopicPartition, Long> ends) {
        asked.add("next " + offsets.values());
        Map<TopicPartition, Long> found = new HashMap<>();
        offsets.forEach((partition, offset) -> found.put(partition, next.getOrDefault(partition, offset)));
        return found;
    }

    private void failWhenBroken() throws Exception {
        if (broken) {
            throw new Exception("no broker");
        }
    }

    @Override
    public void close() {
        asked.add("close");
    }
}
