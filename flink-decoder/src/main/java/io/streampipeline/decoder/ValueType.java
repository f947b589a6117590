package io.streampipeline.decoder;

/** Encodings of a record's value, named as in the resource. */
enum ValueType {
    AVRO("Avro"),
    CONFLUENT_AVRO("ConfluentAvro"),
    JSON("Json");

    private final String text;

    ValueType(String text) {
        this.text = text;
    }

    /** How the resource and the table's options spell it; Flink matches an option's text with this. */
    @Override
    public String toString() {
        return text;
    }
}
