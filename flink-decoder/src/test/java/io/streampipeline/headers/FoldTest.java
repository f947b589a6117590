package io.streampipeline.headers;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.Header;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.Headers;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.internals.RecordHeader;
import org.junit.jupiter.api.Test;

class FoldTest {
    private static final Header REASON = header("streampipeline.reason", "TooLate");

    @Test
    void orderRepeatedNamesAndMissingValuesSurvive() {
        List<Header> own =
                List.of(
                        header("b", "1"),
                        header("a", "2"),
                        header("b", "3"),
                        new RecordHeader("c", (byte[]) null),
                        header("a", ""),
                        header("ä", "\u0000"),
                        header(FoldedHeaders.NAME, "the producer's own"),
                        header("streampipeline.reason", "of a letter before"));
        Headers read = consumed(own);
        assertEquals(1, read.toArray().length);
        // Flink's map of them, to which the dead letter's own are added.
        List<Header> sent = new ArrayList<>(List.of(read.toArray()));
        sent.add(REASON);
        List<Header> expected = new ArrayList<>(own);
        expected.add(REASON);
        assertEquals(expected, produced(sent));
    }

    @Test
    void noHeadersStayNone() {
        assertEquals(0, consumed(List.of()).toArray().length);
        assertEquals(List.of(REASON), produced(List.of(REASON)));
    }

    private static Headers consumed(List<Header> headers) {
        ConsumerRecord<byte[], byte[]> record = new ConsumerRecord<>("t", 0, 0, null, null);
        headers.forEach(record.headers()::add);
        TopicPartition partition = new TopicPartition("t", 0);
        return new Fold()
                .onConsume(new ConsumerRecords<>(Map.of(partition, List.of(record)), Map.of()))
                .iterator()
                .next()
                .headers();
    }

    private static List<Header> produced(List<Header> headers) {
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>("t", new byte[0]);
        headers.forEach(record.headers()::add);
        return List.of(new Unfold().onSend(record).headers().toArray());
    }

    private static Header header(String name, String value) {
        return new RecordHeader(name, value.getBytes(java.nio.charset.StandardCharsets.UTF_8));
    }
}
