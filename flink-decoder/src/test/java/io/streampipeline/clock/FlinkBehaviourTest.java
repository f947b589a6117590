package io.streampipeline.clock;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.flink.api.common.eventtime.Watermark;
import org.apache.flink.api.common.eventtime.WatermarkOutput;
import org.apache.flink.api.common.eventtime.WatermarkOutputMultiplexer;
import org.apache.flink.connector.kafka.source.enumerator.KafkaSourceEnumerator;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What we rely on of Flink without its promise. */
class FlinkBehaviourTest {
    @Test
    void aSmallerWatermarkDoesNotPullAPartitionBackAndOneWithoutRecordsHoldsTheOthers() {
        List<Long> emitted = new ArrayList<>();
        WatermarkOutputMultiplexer multiplexer =
                new WatermarkOutputMultiplexer(
                        new WatermarkOutput() {
                            @Override
                            public void emitWatermark(Watermark watermark) {
                                emitted.add(watermark.getTimestamp());
                            }

                            @Override
                            public void markIdle() {
                                throw new AssertionError();
                            }

                            @Override
                            public void markActive() {
                                throw new AssertionError();
                            }
                        });
        multiplexer.registerNewOutput("idle");
        multiplexer.registerNewOutput("busy");
        multiplexer.getDeferredOutput("busy").emitWatermark(new Watermark(300));
        multiplexer.onPeriodicEmit();
        assertEquals(List.of(), emitted);

        multiplexer.getImmediateOutput("idle").emitWatermark(new Watermark(200));
        assertEquals(List.of(200L), emitted);

        // The strategy's own generator says this again and again.
        multiplexer.getDeferredOutput("idle").emitWatermark(new Watermark(100));
        multiplexer.getDeferredOutput("busy").emitWatermark(new Watermark(400));
        multiplexer.onPeriodicEmit();
        multiplexer.getImmediateOutput("idle").emitWatermark(new Watermark(350));
        assertEquals(List.of(200L, 350L), emitted);
    }

    @ParameterizedTest
    @CsvSource({"stress-topic,4,2", "stress-topic,1,3", "a,3,5", "another.topic,7,16", "t,16,16"})
    void subtasksOwnPartitionsAsInFlink(String topic, int partitions, int subtasks) throws Exception {
        Method owner = KafkaSourceEnumerator.class.getDeclaredMethod("getSplitOwner", TopicPartition.class, int.class);
        owner.setAccessible(true);
        List<TopicPartition> all = new ArrayList<>();
        Set<Object> expected = new HashSet<>();
        for (int i = 0; i < partitions; i++) {
            TopicPartition partition = new TopicPartition(topic, i);
            all.add(partition);
            expected.add(owner.invoke(null, partition, subtasks));
        }
        assertEquals(expected, Owners.of(all, subtasks));
    }
}
