package io.streampipeline.clock;

import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.Admin;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Asks Kafka, with the table's own client properties. The clients are made where they are first used. */
final class KafkaTopicLookup implements TopicLookup {
    private static final int REQUEST_MS = 5_000;
    private static final int CALL_MS = 10_000;
    private static final Duration READING = Duration.ofSeconds(1);

    private final Properties properties;
    private final String name;
    private final List<TopicPartition> partitions;
    private Admin admin;
    private KafkaConsumer<byte[], byte[]> consumer;

    /** @param partitions all of the topic */
    KafkaTopicLookup(Properties properties, String name, List<TopicPartition> partitions) {
        this.properties = properties;
        this.name = name;
        this.partitions = partitions;
    }

    @Override
    public long newest() throws Exception {
        long newest = Look.NOTHING;
        for (ListOffsetsResultInfo found : listed(partitions, OffsetSpec.maxTimestamp()).values()) {
            if (found.timestamp() >= 0) { // -1: the partition is empty
                newest = Math.max(newest, found.timestamp());
            }
        }
        return newest;
    }

    @Override
    public Map<TopicPartition, Long> ends(Collection<TopicPartition> partitions) throws Exception {
        Map<TopicPartition, Long> ends = new HashMap<>();
        listed(partitions, OffsetSpec.latest()).forEach((partition, found) -> ends.put(partition, found.offset()));
        return ends;
    }

    private Map<TopicPartition, ListOffsetsResultInfo> listed(
            Collection<TopicPartition> partitions, OffsetSpec spec) throws Exception {
        if (admin == null) {
            admin = Admin.create(clientProperties("-admin"));
        }
        Map<TopicPartition, OffsetSpec> question = new HashMap<>();
        partitions.forEach(partition -> question.put(partition, spec));
        return admin.listOffsets(question).all().get(CALL_MS, TimeUnit.MILLISECONDS);
    }

    @Override
    public Map<TopicPartition, Long> next(Map<TopicPartition, Long> offsets, Map<TopicPartition, Long> ends) {
        if (consumer == null) {
            consumer = new KafkaConsumer<>(consumerProperties());
        }
        consumer.assign(offsets.keySet());
        offsets.forEach(consumer::seek);
        Map<TopicPartition, Long> next = new HashMap<>();
        Set<TopicPartition> open = new HashSet<>(offsets.keySet());
        long deadline = System.nanoTime() + READING.toNanos();
        while (!open.isEmpty() && System.nanoTime() < deadline) {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(READING.dividedBy(10))) {
                // The consumer's own position is beyond this record already.
                TopicPartition partition = new TopicPartition(record.topic(), record.partition());
                next.putIfAbsent(partition, record.offset());
            }
            open.removeIf(
                    partition ->
                            next.containsKey(partition) || consumer.position(partition) >= ends.get(partition));
            consumer.pause(next.keySet());
        }
        for (TopicPartition partition : offsets.keySet()) {
            next.computeIfAbsent(partition, consumer::position);
        }
        consumer.unsubscribe();
        return next;
    }

    private Properties clientProperties(String suffix) {
        Properties changed = new Properties();
        changed.putAll(properties);
        changed.setProperty(ConsumerConfig.CLIENT_ID_CONFIG, name + suffix);
        changed.setProperty(ConsumerConfig.REQUEST_TIMEOUT_MS_CONFIG, Integer.toString(REQUEST_MS));
        changed.setProperty(ConsumerConfig.DEFAULT_API_TIMEOUT_MS_CONFIG, Integer.toString(CALL_MS));
        return changed;
    }

    private Properties consumerProperties() {
        Properties changed = clientProperties("-consumer");
        changed.remove(ConsumerConfig.GROUP_ID_CONFIG);
        changed.setProperty(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, "false");
        // As Flink's reader does when retention has passed its position.
        changed.setProperty(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        changed.setProperty(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, "1");
        changed.setProperty(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class.getName());
        changed.setProperty(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class.getName());
        return changed;
    }

    @Override
    public void close() {
        if (admin != null) {
            admin.close(Duration.ZERO);
        }
        if (consumer != null) {
            consumer.close(CloseOptions.timeout(Duration.ZERO));
        }
    }
}
