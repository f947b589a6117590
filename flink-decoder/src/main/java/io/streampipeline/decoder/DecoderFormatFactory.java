package io.streampipeline.decoder;

import java.util.Set;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.DynamicTableFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.RowType;

/** Makes the format {@code streampipeline}. Flink finds it through {@code META-INF/services}. */
public final class DecoderFormatFactory implements DeserializationFormatFactory {
    /** The format's name in a table's options. */
    public static final String IDENTIFIER = "streampipeline";

    @Override
    public String factoryIdentifier() {
        return IDENTIFIER;
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(DecoderOptions.TYPE, DecoderOptions.KEY_FIELD, DecoderOptions.EVENT_TIME_FIELD);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of(DecoderOptions.SCHEMA, DecoderOptions.SCHEMA_IDS, DecoderOptions.SCALED);
    }

    @Override
    public DecodingFormat<DeserializationSchema<RowData>> createDecodingFormat(
            DynamicTableFactory.Context context, ReadableConfig options) {
        FactoryUtil.validateFactoryOptions(this, options);
        return new Format(DecoderOptions.plan(options));
    }

    private record Format(RecordPlan plan) implements DecodingFormat<DeserializationSchema<RowData>> {
        @Override
        public DeserializationSchema<RowData> createRuntimeDecoder(
                DynamicTableSource.Context context, DataType produced) {
            OutputColumn[] columns = OutputColumn.of((RowType) produced.getLogicalType(), plan);
            return new RecordDeserializer(plan, columns, context.createTypeInformation(produced));
        }

        @Override
        public ChangelogMode getChangelogMode() {
            return ChangelogMode.insertOnly();
        }
    }
}
