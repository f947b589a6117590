package io.streampipeline.decoder;

import java.io.Serializable;
import java.util.List;
import java.util.Set;

/**
 * What to read from a record's value, and how.
 *
 * @param type encoding of the value
 * @param schema text of the Avro schema; empty with JSON
 * @param schemaIds ids that a Confluent header may name; empty: any
 * @param keyField name of the field that keys windows
 * @param timeField name of the event time's field
 * @param scaled columns of scaled integers
 */
record RecordPlan(
        ValueType type,
        String schema,
        Set<Integer> schemaIds,
        String keyField,
        String timeField,
        List<ScaledColumn> scaled)
        implements Serializable {

    /** Names of the fields that aggregates read, each once; a number's slot is its place here. */
    List<String> numberFields() {
        return scaled.stream().map(ScaledColumn::field).distinct().toList();
    }

    /** A reader of this plan's records. Throws IllegalArgumentException when the schema does not fit the plan. */
    RecordReader newReader() {
        return switch (type) {
            case AVRO -> AvroReader.of(this);
            case CONFLUENT_AVRO -> new ConfluentReader(schemaIds, AvroReader.of(this));
            case JSON -> new JsonReader(this);
        };
    }
}
