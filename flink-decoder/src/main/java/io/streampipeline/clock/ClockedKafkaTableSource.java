package io.streampipeline.clock;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Properties;
import java.util.regex.Pattern;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.connector.source.Boundedness;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.DataStreamSource;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.connectors.kafka.config.BoundedMode;
import org.apache.flink.streaming.connectors.kafka.config.StartupMode;
import org.apache.flink.streaming.connectors.kafka.table.KafkaDynamicSource;
import org.apache.flink.streaming.connectors.kafka.table.TableDataTypeUtils;
import org.apache.flink.table.connector.Projection;
import org.apache.flink.table.connector.ProviderContext;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DataStreamScanProvider;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.DataType;

/** Flink's Kafka table source, its {@link KafkaSource} wrapped in a {@link ClockedSource}. */
final class ClockedKafkaTableSource extends KafkaDynamicSource {
    private ClockOptions clock;

    ClockedKafkaTableSource(
            DataType physicalDataType,
            DecodingFormat<DeserializationSchema<RowData>> keyDecodingFormat,
            DecodingFormat<DeserializationSchema<RowData>> valueDecodingFormat,
            int[] keyProjection,
            int[] valueProjection,
            String keyPrefix,
            List<String> topics,
            Pattern topicPattern,
            Properties properties,
            StartupMode startupMode,
            Map<TopicPartition, Long> specificStartupOffsets,
            long startupTimestampMillis,
            BoundedMode boundedMode,
            Map<TopicPartition, Long> specificBoundedOffsets,
            long boundedTimestampMillis,
            String tableIdentifier,
            Integer parallelism) {
        super(
                physicalDataType,
                keyDecodingFormat,
                valueDecodingFormat,
                keyProjection,
                valueProjection,
                keyPrefix,
                topics,
                topicPattern,
                properties,
                startupMode,
                specificStartupOffsets,
                startupTimestampMillis,
                boundedMode,
                specificBoundedOffsets,
                boundedTimestampMillis,
                false,
                tableIdentifier,
                parallelism);
    }

    ClockedKafkaTableSource with(ClockOptions options) {
        clock = options;
        return this;
    }

    @Override
    public ScanRuntimeProvider getScanRuntimeProvider(ScanContext context) {
        KafkaSource<RowData> kafka =
                createKafkaSource(
                        decoder(context, keyDecodingFormat, keyProjection, keyPrefix),
                        decoder(context, valueDecodingFormat, valueProjection, null),
                        context.createTypeInformation(producedDataType));
        List<TopicPartition> partitions = new ArrayList<>(specificStartupOffsets.keySet());
        RowLayout layout = RowLayout.of(producedDataType, metadataKeys);
        return new Provider(new ClockedSource(kafka, properties, partitions, layout, clock));
    }

    private DeserializationSchema<RowData> decoder(
            ScanContext context,
            DecodingFormat<DeserializationSchema<RowData>> format,
            int[] projection,
            String prefix) {
        if (format == null) {
            return null;
        }
        DataType decoded = Projection.of(projection).project(physicalDataType);
        return format.createRuntimeDecoder(
                context, prefix == null ? decoded : TableDataTypeUtils.stripRowPrefix(decoded, prefix));
    }

    @Override
    public DynamicTableSource copy() {
        ClockedKafkaTableSource copy =
                new ClockedKafkaTableSource(
                        physicalDataType,
                        keyDecodingFormat,
                        valueDecodingFormat,
                        keyProjection,
                        valueProjection,
                        keyPrefix,
                        topics,
                        topicPattern,
                        properties,
                        startupMode,
                        specificStartupOffsets,
                        startupTimestampMillis,
                        boundedMode,
                        specificBoundedOffsets,
                        boundedTimestampMillis,
                        tableIdentifier,
                        parallelism);
        copy.producedDataType = producedDataType;
        copy.metadataKeys = metadataKeys;
        copy.watermarkStrategy = watermarkStrategy;
        return copy.with(clock);
    }

    @Override
    public String asSummaryString() {
        return "Kafka table source with partition clocks";
    }

    @Override
    public boolean equals(Object other) {
        return super.equals(other) && Objects.equals(clock, ((ClockedKafkaTableSource) other).clock);
    }

    @Override
    public int hashCode() {
        return Objects.hash(super.hashCode(), clock);
    }

    private final class Provider implements DataStreamScanProvider {
        private final ClockedSource source;

        Provider(ClockedSource source) {
            this.source = source;
        }

        @Override
        public DataStream<RowData> produceDataStream(
                ProviderContext context, StreamExecutionEnvironment environment) {
            WatermarkStrategy<RowData> strategy =
                    watermarkStrategy == null ? WatermarkStrategy.noWatermarks() : watermarkStrategy;
            DataStreamSource<RowData> stream =
                    environment.fromSource(source, strategy, "KafkaSource-" + tableIdentifier);
            context.generateUid("kafka").ifPresent(stream::uid);
            return stream;
        }

        @Override
        public boolean isBounded() {
            return source.getBoundedness() == Boundedness.BOUNDED;
        }

        @Override
        public Optional<Integer> getParallelism() {
            return Optional.ofNullable(parallelism);
        }
    }
}
