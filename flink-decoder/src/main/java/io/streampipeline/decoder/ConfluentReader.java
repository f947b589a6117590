package io.streampipeline.decoder;

import java.nio.ByteBuffer;
import java.util.Set;

/** Avro behind a Confluent header: the byte 0 and the schema's id, four bytes, big endian. */
final class ConfluentReader implements RecordReader {
    private static final int HEADER = 5;

    private final Set<Integer> schemaIds;
    private final AvroReader body;

    ConfluentReader(Set<Integer> schemaIds, AvroReader body) {
        this.schemaIds = schemaIds;
        this.body = body;
    }

    @Override
    public void read(byte[] bytes, Fields fields) throws Malformed {
        if (bytes.length < HEADER || bytes[0] != 0) {
            throw Malformed.INSTANCE;
        }
        if (!schemaIds.isEmpty() && !schemaIds.contains(ByteBuffer.wrap(bytes).getInt(1))) {
            throw Malformed.INSTANCE;
        }
        body.read(bytes, HEADER, fields);
    }
}
