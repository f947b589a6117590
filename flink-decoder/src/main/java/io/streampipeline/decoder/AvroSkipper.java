package io.streampipeline.decoder;

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.avro.Schema;

/** Passes over a value of one schema, checking all of it. */
interface AvroSkipper {
    void skip(AvroCursor in) throws Malformed;

    /** Makes skippers; a named type is made once, so that a schema may refer to itself. */
    final class Compiler {
        private final Map<String, AvroSkipper> records = new HashMap<>();

        AvroSkipper compile(Schema schema) {
            return switch (schema.getType()) {
                case NULL -> Empty.INSTANCE;
                case BOOLEAN -> AvroCursor::readBoolean;
                case INT -> AvroCursor::readInt;
                case LONG -> AvroCursor::readLong;
                case FLOAT -> in -> in.skip(4);
                case DOUBLE -> in -> in.skip(8);
                case BYTES -> in -> in.skip(in.readLength());
                case STRING -> AvroCursor::skipString;
                case FIXED -> fixed(schema.getFixedSize());
                case ENUM -> enumeration(schema.getEnumSymbols().size());
                case UNION -> union(schema.getTypes());
                case ARRAY -> new BlockSkipper(compile(schema.getElementType()), false);
                case MAP -> new BlockSkipper(compile(schema.getValueType()), true);
                case RECORD -> record(schema);
            };
        }

        private AvroSkipper record(Schema schema) {
            String name = schema.getFullName();
            AvroSkipper known = records.get(name);
            if (known != null) {
                return known;
            }
            RecordSkipper skipper = new RecordSkipper();
            records.put(name, skipper);
            skipper.fields =
                    schema.getFields().stream().map(f -> compile(f.schema())).toArray(AvroSkipper[]::new);
            if (Arrays.stream(skipper.fields).allMatch(f -> f == Empty.INSTANCE)) {
                records.put(name, Empty.INSTANCE);
            }
            return records.get(name);
        }

        private AvroSkipper union(List<Schema> types) {
            AvroSkipper[] branches = types.stream().map(this::compile).toArray(AvroSkipper[]::new);
            return in -> branches[readIndex(in, branches.length)].skip(in);
        }

        private static AvroSkipper fixed(int size) {
            return size == 0 ? Empty.INSTANCE : in -> in.skip(size);
        }

        private static AvroSkipper enumeration(int symbols) {
            return in -> readIndex(in, symbols);
        }
    }

    /** The index of a union's branch or of an enum's symbol. */
    static int readIndex(AvroCursor in, int count) throws Malformed {
        int index = in.readInt();
        if (index < 0 || index >= count) {
            throw Malformed.INSTANCE;
        }
        return index;
    }

    /** Null, and whatever else takes no bytes: any number of them is read at once. */
    enum Empty implements AvroSkipper {
        INSTANCE;

        @Override
        public void skip(AvroCursor in) {}
    }

    /** A record inside the record. */
    final class RecordSkipper implements AvroSkipper {
        /** Set once compiled: a schema may hold itself, so they are not known at the start. */
        private AvroSkipper[] fields;

        @Override
        public void skip(AvroCursor in) throws Malformed {
            in.enter();
            for (AvroSkipper field : fields) {
                field.skip(in);
            }
            in.leave();
        }
    }

    /** An array or a map: blocks of items, ended by a block of none. */
    final class BlockSkipper implements AvroSkipper {
        private final AvroSkipper item;
        private final boolean keyed;

        BlockSkipper(AvroSkipper item, boolean keyed) {
            this.item = item;
            this.keyed = keyed;
        }

        @Override
        public void skip(AvroCursor in) throws Malformed {
            in.enter();
            for (long count = in.readLong(); count != 0; count = in.readLong()) {
                if (count > 0) {
                    skipItems(in, count);
                } else {
                    skipSizedItems(in, count);
                }
            }
            in.leave();
        }

        /** A negative count is followed by the block's size in bytes, which must be true. */
        private void skipSizedItems(AvroCursor in, long negativeCount) throws Malformed {
            if (negativeCount == Long.MIN_VALUE) {
                throw Malformed.INSTANCE;
            }
            int size = in.readLength();
            int from = in.position();
            skipItems(in, -negativeCount);
            if (in.position() - from != size) {
                throw Malformed.INSTANCE;
            }
        }

        private void skipItems(AvroCursor in, long count) throws Malformed {
            if (!keyed && item == Empty.INSTANCE) {
                return;
            }
            // Every item takes a byte at least: a count too large ends where the bytes end.
            for (long i = 0; i < count; i++) {
                if (keyed) {
                    in.skipString();
                }
                item.skip(in);
            }
        }
    }
}
