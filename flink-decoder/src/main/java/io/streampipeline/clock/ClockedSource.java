package io.streampipeline.clock;

import java.io.IOException;
import java.util.List;
import java.util.Properties;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.connector.source.Boundedness;
import org.apache.flink.api.connector.source.Source;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.api.java.typeutils.ResultTypeQueryable;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.KafkaSourceEnumState;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.table.data.RowData;

/** A {@link KafkaSource} whose readers keep a clock for each partition. */
final class ClockedSource
        implements Source<RowData, KafkaPartitionSplit, KafkaSourceEnumState>, ResultTypeQueryable<RowData> {
    private static final long serialVersionUID = 1L;

    private final KafkaSource<RowData> kafka;
    private final Properties properties;
    private final List<TopicPartition> partitions;
    private final RowLayout layout;
    private final ClockOptions clock;

    /**
     * @param properties of the Kafka clients
     * @param partitions all of the topic
     */
    ClockedSource(
            KafkaSource<RowData> kafka,
            Properties properties,
            List<TopicPartition> partitions,
            RowLayout layout,
            ClockOptions clock) {
        this.kafka = kafka;
        this.properties = properties;
        this.partitions = partitions;
        this.layout = layout;
        this.clock = clock;
    }

    @Override
    public SourceReader<RowData, KafkaPartitionSplit> createReader(SourceReaderContext context)
            throws Exception {
        int subtask = context.getIndexOfSubtask();
        String name = "streampipeline-clock-" + subtask;
        TopicWatch watch =
                new TopicWatch(name, new KafkaTopicLookup(properties, name, partitions), clock, System::nanoTime);
        boolean forNothing = !Owners.of(partitions, context.currentParallelism()).contains(subtask);
        return new ClockedReader(kafka.createReader(context), watch, clock, layout, forNothing);
    }

    @Override
    public Boundedness getBoundedness() {
        return kafka.getBoundedness();
    }

    @Override
    public SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState> createEnumerator(
            SplitEnumeratorContext<KafkaPartitionSplit> context) {
        return kafka.createEnumerator(context);
    }

    @Override
    public SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState> restoreEnumerator(
            SplitEnumeratorContext<KafkaPartitionSplit> context, KafkaSourceEnumState checkpoint)
            throws IOException {
        return kafka.restoreEnumerator(context, checkpoint);
    }

    @Override
    public SimpleVersionedSerializer<KafkaPartitionSplit> getSplitSerializer() {
        return kafka.getSplitSerializer();
    }

    @Override
    public SimpleVersionedSerializer<KafkaSourceEnumState> getEnumeratorCheckpointSerializer() {
        return kafka.getEnumeratorCheckpointSerializer();
    }

    @Override
    public TypeInformation<RowData> getProducedType() {
        return kafka.getProducedType();
    }
}
