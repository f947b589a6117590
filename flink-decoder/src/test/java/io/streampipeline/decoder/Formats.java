package io.streampipeline.decoder;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.LogicalType;

/** Makes formats as Flink's planner would, and shows rows. */
final class Formats {
    private Formats() {}

    /** An opened deserializer with columns of the types that their names ask for. */
    static DeserializationSchema<RowData> deserializer(Map<String, String> options, String... columns)
            throws Exception {
        DataTypes.Field[] fields = Arrays.stream(columns)
                .map(name -> DataTypes.FIELD(name, type(name)))
                .toArray(DataTypes.Field[]::new);
        return deserializer(options, DataTypes.ROW(fields));
    }

    static DeserializationSchema<RowData> deserializer(Map<String, String> options, DataType row) throws Exception {
        DeserializationSchema<RowData> schema = new DecoderFormatFactory()
                .createDecodingFormat(null, Configuration.fromMap(options))
                .createRuntimeDecoder(new NoTypes(), row);
        schema.open(null);
        return schema;
    }

    static DataType type(String column) {
        return switch (column) {
            case "reason", "key" -> DataTypes.STRING();
            case "raw" -> DataTypes.BYTES();
            case "e" -> DataTypes.TIMESTAMP_LTZ(3);
            default -> DataTypes.BIGINT();
        };
    }

    /** The row's values: bytes in base64, times in ms. */
    static String show(RowData row, int width) {
        List<Object> values = new ArrayList<>();
        for (int i = 0; i < width; i++) {
            Object value = ((org.apache.flink.table.data.GenericRowData) row).getField(i);
            if (value instanceof byte[] bytes) {
                values.add(Base64.getEncoder().encodeToString(bytes));
            } else if (value instanceof TimestampData time) {
                values.add(time.getMillisecond());
            } else if (value instanceof StringData text) {
                values.add(text.toString());
            } else {
                values.add(value);
            }
        }
        return values.toString();
    }

    /** The planner's context; the deserializer only passes its type information on. */
    private static final class NoTypes implements DynamicTableSource.Context {
        @Override
        public <T> TypeInformation<T> createTypeInformation(DataType type) {
            return null;
        }

        @Override
        public <T> TypeInformation<T> createTypeInformation(LogicalType type) {
            return null;
        }

        @Override
        public DynamicTableSource.DataStructureConverter createDataStructureConverter(DataType type) {
            throw new UnsupportedOperationException();
        }
    }
}
