package io.streampipeline.decoder;

/** Reads the fields that a pipeline needs from a record's value. Not thread-safe. */
interface RecordReader {
    /**
     * @param bytes the record's value
     * @param fields cleared by the caller, filled here; undefined after an exception
     * @throws Malformed when the bytes are not a value of the schema
     */
    void read(byte[] bytes, Fields fields) throws Malformed;
}
