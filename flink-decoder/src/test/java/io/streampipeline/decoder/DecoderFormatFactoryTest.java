package io.streampipeline.decoder;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.ServiceLoader;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.Factory;
import org.apache.flink.table.types.DataType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class DecoderFormatFactoryTest {
    private static final byte[] RECORD =
            "{\"id\": \"k\", \"X\": 1.5, \"at\": 7}".getBytes(StandardCharsets.UTF_8);

    private static Map<String, String> options() {
        Map<String, String> options = new HashMap<>();
        options.put("type", "Json");
        options.put("key-field", "id");
        options.put("event-time-field", "at");
        options.put("scaled", "[{\"column\": \"s0\", \"field\": \"X\", \"decimals\": 2}]");
        return options;
    }

    private static String avro(String timeType) {
        return """
                {"type": "record", "name": "R", "fields": [{"name": "id", "type": "string"},
                 {"name": "X", "type": "double"}, {"name": "at", "type": %s}]}"""
                .formatted(timeType);
    }

    @Test
    void flinkFindsTheFormatByItsName() {
        assertTrue(ServiceLoader.load(Factory.class).stream()
                .anyMatch(p -> p.type() == DecoderFormatFactory.class
                        && p.get().factoryIdentifier().equals("streampipeline")));
    }

    @Test
    void columnsComeInTheOrderOfTheTable() throws Exception {
        RowData row = Formats.deserializer(options(), "s0", "e_ms", "key", "reason").deserialize(RECORD);
        assertEquals("[150, 7, k, null]", Formats.show(row, 4));
    }

    @Test
    void rawIsTheRecordsOwnArray() throws Exception {
        assertSame(RECORD, Formats.deserializer(options(), "raw").deserialize(RECORD).getBinary(0));
    }

    @Test
    void aGoodRecordAfterABadOneIsGood() throws Exception {
        var schema = Formats.deserializer(options(), "reason", "key", "s0");
        assertEquals("[Undecodable, null, null]", Formats.show(schema.deserialize(new byte[0]), 3));
        assertEquals("[null, k, 150]", Formats.show(schema.deserialize(RECORD), 3));
        assertEquals("[Undecodable, null, null]", Formats.show(schema.deserialize(null), 3));
    }

    @Test
    void theDeserializerTravelsToTheTaskManagers() throws Exception {
        var schema = Formats.deserializer(options(), "key", "s0");
        var bytes = new ByteArrayOutputStream();
        new ObjectOutputStream(bytes).writeObject(schema);
        Object copy = new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray())).readObject();
        var arrived = assertInstanceOf(DeserializationSchema.class, copy);
        arrived.open(null);
        assertEquals("[k, 150]", Formats.show((RowData) arrived.deserialize(RECORD), 2));
    }

    @ParameterizedTest
    @CsvSource({"type", "key-field", "event-time-field"})
    void requiredOptionsAreRequired(String option) {
        Map<String, String> options = options();
        options.remove(option);
        assertThrows(ValidationException.class, () -> Formats.deserializer(options, "key"));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "scaled | [{\"column\": \"s0\"}]",
        "scaled | [{\"column\": \"s0\", \"field\": \"X\", \"decimals\": 10}]",
        "scaled | {",
        "schema-ids | 1,x",
        "type | Protobuf"
    })
    void aWrongOptionIsNamed(String option, String value) {
        Map<String, String> options = options();
        options.put(option, value);
        // An enum is refused by Flink itself, with an exception of its own.
        var error = assertThrows(RuntimeException.class, () -> Formats.deserializer(options, "key"));
        assertTrue(error.getMessage().contains(option), error.getMessage());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "\"int\" | must be a long or a string",
        "\"double\" | must be no floating-point number",
        "\"boolean\" | must be a long or a string",
        "[\"long\", \"string\"] | must be a union of one type",
        "{\"type\": \"long\", \"logicalType\": \"local-timestamp-millis\"} | timestamp-micros"
    })
    void aSchemaThatDoesNotFitIsRefused(String timeType, String message) {
        Map<String, String> options = options();
        options.put("type", "Avro");
        options.put("schema", avro(timeType));
        var error = assertThrows(ValidationException.class, () -> Formats.deserializer(options, "key"));
        assertTrue(error.getMessage().contains(message), error.getMessage());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"not JSON", "\"string\"", "{\"type\": \"record\", \"name\": \"R\", \"fields\": []}"})
    void aSchemaThatIsNoRecordOfTheFieldsIsRefused(String schema) {
        Map<String, String> options = options();
        options.put("type", "Avro");
        options.put("schema", schema);
        assertThrows(ValidationException.class, () -> Formats.deserializer(options, "key"));
    }

    @Test
    void unknownColumnsAndWrongTypesAreRefused() {
        assertColumnRefused("s1", DataTypes.BIGINT());
        assertColumnRefused("reason", DataTypes.BIGINT());
        assertColumnRefused("e", DataTypes.TIMESTAMP_LTZ(6));
        assertColumnRefused("e", DataTypes.TIMESTAMP(3));
        assertColumnRefused("s0", DataTypes.BIGINT().notNull());
    }

    private static void assertColumnRefused(String name, DataType type) {
        DataType row = DataTypes.ROW(DataTypes.FIELD(name, type));
        var error = assertThrows(ValidationException.class, () -> Formats.deserializer(options(), row));
        assertTrue(error.getMessage().contains("'" + name + "'"), error.getMessage());
    }
}
