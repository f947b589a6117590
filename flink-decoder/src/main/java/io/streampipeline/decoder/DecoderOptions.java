package io.streampipeline.decoder;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.table.api.ValidationException;

/** The table's options, without the prefix {@code streampipeline.} or {@code value.streampipeline.}. */
final class DecoderOptions {
    static final ConfigOption<ValueType> TYPE = ConfigOptions.key("type")
            .enumType(ValueType.class)
            .noDefaultValue()
            .withDescription("Encoding of the value: Avro, ConfluentAvro or Json.");

    static final ConfigOption<String> SCHEMA = ConfigOptions.key("schema")
            .stringType()
            .defaultValue("")
            .withDescription("Text of the Avro schema; not read with Json.");

    static final ConfigOption<String> SCHEMA_IDS = ConfigOptions.key("schema-ids")
            .stringType()
            .defaultValue("")
            .withDescription("Ids that a ConfluentAvro header may name, with commas between; empty: any.");

    static final ConfigOption<String> KEY_FIELD = ConfigOptions.key("key-field")
            .stringType()
            .noDefaultValue()
            .withDescription("Field that keys windows.");

    static final ConfigOption<String> EVENT_TIME_FIELD = ConfigOptions.key("event-time-field")
            .stringType()
            .noDefaultValue()
            .withDescription("Field of the event time.");

    static final ConfigOption<String> SCALED = ConfigOptions.key("scaled")
            .stringType()
            .defaultValue("[]")
            .withDescription("JSON list of the BIGINT columns: [{\"column\": \"s0\", \"field\": \"X\", \"decimals\": 6}].");

    private static final int MAX_DECIMALS = 9;

    private DecoderOptions() {}

    /** The plan that the options describe. Throws ValidationException, whose message names the option. */
    static RecordPlan plan(ReadableConfig options) {
        RecordPlan plan = new RecordPlan(
                options.get(TYPE),
                options.get(SCHEMA),
                schemaIds(options.get(SCHEMA_IDS)),
                options.get(KEY_FIELD),
                options.get(EVENT_TIME_FIELD),
                scaled(options.get(SCALED)));
        try {
            plan.newReader();
        } catch (IllegalArgumentException e) {
            throw new ValidationException("Option 'schema': " + e.getMessage(), e);
        }
        return plan;
    }

    private static Set<Integer> schemaIds(String text) {
        Set<Integer> ids = new HashSet<>();
        if (text.isBlank()) {
            return ids;
        }
        for (String id : text.split(",")) {
            try {
                ids.add(Integer.valueOf(id.trim()));
            } catch (NumberFormatException e) {
                throw new ValidationException("Option 'schema-ids': not an integer: " + id, e);
            }
        }
        return ids;
    }

    private static List<ScaledColumn> scaled(String json) {
        List<ScaledColumn> columns;
        try {
            columns = new ObjectMapper().readValue(json, new TypeReference<List<ScaledColumn>>() {});
        } catch (JsonProcessingException e) {
            throw new ValidationException("Option 'scaled': " + e.getOriginalMessage(), e);
        }
        for (ScaledColumn c : columns) {
            if (c.column() == null || c.field() == null || c.decimals() < 0 || c.decimals() > MAX_DECIMALS) {
                throw new ValidationException("Option 'scaled': needs column, field and decimals from 0 to 9: " + c);
            }
        }
        return columns;
    }
}
