package io.streampipeline.decoder;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.apache.flink.table.data.RowData;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** The golden corpus through the format; {@code test_decode_corpus.py} reads the same file. */
class CorpusTest {
    private static final File FILE = new File(System.getProperty("corpus"));

    @TestFactory
    Stream<DynamicTest> everyRecordGetsItsVerdictAndItsBits() throws IOException {
        return cases().map(c -> DynamicTest.dynamicTest(c.get("name").asText(), () -> check(c)));
    }

    @Test
    void theCorpusIsThere() throws IOException {
        assertTrue(cases().mapToInt(c -> c.get("records").size()).sum() >= 2500);
    }

    private static Stream<JsonNode> cases() throws IOException {
        return StreamSupport.stream(new ObjectMapper().readTree(FILE).spliterator(), false);
    }

    private static void check(JsonNode c) throws Exception {
        List<String> columns = new ArrayList<>(List.of("raw", "reason", "key", "e", "e_ms"));
        c.get("scaled").forEach(s -> columns.add(s.get("column").asText()));
        var schema = Formats.deserializer(options(c), columns.toArray(String[]::new));
        List<String> wrong = new ArrayList<>();
        for (JsonNode record : c.get("records")) {
            byte[] value = record.get("value").isNull() ? null : decode(record);
            String got = Formats.show(schema.deserialize(value), columns.size());
            String expected = expected(record, value, columns.size());
            if (!got.equals(expected)) {
                wrong.add(record.get("name").asText() + ": " + got + ", not " + expected);
            }
        }
        assertEquals(List.of(), wrong);
    }

    private static Map<String, String> options(JsonNode c) {
        Map<String, String> options = new HashMap<>();
        options.put("type", c.get("type").asText());
        options.put("schema", c.get("schema").asText());
        List<String> ids = new ArrayList<>();
        c.get("schemaIds").forEach(id -> ids.add(id.asText()));
        options.put("schema-ids", String.join(",", ids));
        options.put("key-field", c.get("keyField").asText());
        options.put("event-time-field", c.get("eventTimeField").asText());
        options.put("scaled", c.get("scaled").toString());
        return options;
    }

    private static byte[] decode(JsonNode record) {
        return Base64.getDecoder().decode(record.get("value").asText());
    }

    private static String expected(JsonNode record, byte[] value, int width) {
        List<Object> row = new ArrayList<>();
        row.add(value == null ? null : Base64.getEncoder().encodeToString(value));
        if (!record.get("reason").isNull()) {
            row.add(record.get("reason").asText());
        } else {
            row.add(null);
            row.add(record.get("key").asText());
            row.add(record.get("e").asLong());
            row.add(record.get("e").asLong());
            record.get("scaled").forEach(s -> row.add(s.asLong()));
        }
        while (row.size() < width) {
            row.add(null);
        }
        return row.toString();
    }
}
