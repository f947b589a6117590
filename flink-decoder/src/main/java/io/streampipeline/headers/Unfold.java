package io.streampipeline.headers;

import java.util.Map;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerInterceptor;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.RecordMetadata;

/** Unfolds the headers of what a producer sends; {@code interceptor.classes} of the dead letters names it. */
public final class Unfold implements ProducerInterceptor<byte[], byte[]> {
    @Override
    public ProducerRecord<byte[], byte[]> onSend(ProducerRecord<byte[], byte[]> record) {
        FoldedHeaders.unfold(record.headers());
        return record;
    }

    @Override
    public void onAcknowledgement(RecordMetadata metadata, Exception exception) {}

    @Override
    public void close() {}

    @Override
    public void configure(Map<String, ?> configs) {}
}
