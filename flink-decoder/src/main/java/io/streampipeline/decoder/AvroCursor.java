package io.streampipeline.decoder;

/** A position in Avro's binary encoding. Every read checks what is left, so that no length is trusted. */
final class AvroCursor {
    /** Records, arrays and maps inside one another; recursive schemas could nest without end. */
    private static final int MAX_DEPTH = 64;

    private byte[] bytes;
    private int position;
    private int end;
    private int depth;

    void reset(byte[] value, int from) {
        bytes = value;
        position = from;
        end = value.length;
        depth = 0;
    }

    void expectEnd() throws Malformed {
        if (position != end) {
            throw Malformed.INSTANCE;
        }
    }

    int position() {
        return position;
    }

    void enter() throws Malformed {
        if (++depth > MAX_DEPTH) {
            throw Malformed.INSTANCE;
        }
    }

    void leave() {
        depth--;
    }

    boolean readBoolean() throws Malformed {
        int value = next();
        if (value > 1) {
            throw Malformed.INSTANCE;
        }
        return value == 1;
    }

    /** Zigzag varint of at most 5 bytes and 32 bits; forms longer than needed are values too. */
    int readInt() throws Malformed {
        long raw = readVarint(5);
        if (raw >>> 32 != 0) {
            throw Malformed.INSTANCE;
        }
        int zigzag = (int) raw;
        return (zigzag >>> 1) ^ -(zigzag & 1);
    }

    /** Zigzag varint of at most 10 bytes and 64 bits. */
    long readLong() throws Malformed {
        long raw = readVarint(10);
        return (raw >>> 1) ^ -(raw & 1);
    }

    private long readVarint(int maxBytes) throws Malformed {
        long value = 0;
        for (int i = 0; i < maxBytes; i++) {
            int b = next();
            if (i == 9 && b > 1) {
                throw Malformed.INSTANCE;
            }
            value |= (long) (b & 0x7f) << (7 * i);
            if (b < 0x80) {
                return value;
            }
        }
        throw Malformed.INSTANCE;
    }

    float readFloat() throws Malformed {
        return Float.intBitsToFloat((int) fixed(4));
    }

    double readDouble() throws Malformed {
        return Double.longBitsToDouble(fixed(8));
    }

    private long fixed(int length) throws Malformed {
        int from = position;
        skip(length);
        long value = 0;
        for (int i = length - 1; i >= 0; i--) {
            value = value << 8 | bytes[from + i] & 0xff;
        }
        return value;
    }

    /** The length of a string or of bytes, which is at most what is left. */
    int readLength() throws Malformed {
        long length = readLong();
        if (length < 0 || length > end - position) {
            throw Malformed.INSTANCE;
        }
        return (int) length;
    }

    /** A string as its bytes, which are valid UTF-8. */
    byte[] readString() throws Malformed {
        int from = skipString();
        return java.util.Arrays.copyOfRange(bytes, from, position);
    }

    /** Checks a string. Returns where it began; it ends at the new position. */
    int skipString() throws Malformed {
        int length = readLength();
        int from = position;
        Utf8.validate(bytes, from, length);
        position += length;
        return from;
    }

    void skip(int length) throws Malformed {
        if (length > end - position) {
            throw Malformed.INSTANCE;
        }
        position += length;
    }

    private int next() throws Malformed {
        if (position == end) {
            throw Malformed.INSTANCE;
        }
        return bytes[position++] & 0xff;
    }
}
