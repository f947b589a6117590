package io.streampipeline.decoder;

/** The bytes are not a value of the schema. Stackless and shared: poison must not be expensive. */
final class Malformed extends Exception {
    static final Malformed INSTANCE = new Malformed();

    private Malformed() {
        super("not a value of the schema", null, false, false);
    }
}
