package io.streampipeline.headers;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.Header;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.Headers;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.internals.RecordHeader;

/** All headers of a record in the value of one. It never leaves Flink. */
final class FoldedHeaders {
    /** Name of that header. One that a record came with is folded like any other. */
    static final String NAME = "streampipeline.folded-headers";

    private static final int NULL = -1;

    private FoldedHeaders() {}

    /** Replaces headers by one that holds them all; none stay none. */
    static void fold(Headers headers) {
        Header[] all = headers.toArray();
        if (all.length == 0) {
            return;
        }
        byte[] folded = encode(all);
        clear(headers);
        headers.add(NAME, folded);
    }

    /** Puts back what was folded, before the headers that were added since. */
    static void unfold(Headers headers) {
        Header folded = headers.lastHeader(NAME);
        if (folded == null) {
            return;
        }
        headers.remove(NAME);
        Header[] added = headers.toArray();
        clear(headers);
        decode(folded.value()).forEach(headers::add);
        for (Header header : added) {
            headers.add(header);
        }
    }

    private static void clear(Headers headers) {
        for (Header header : headers.toArray()) {
            headers.remove(header.key());
        }
    }

    private static byte[] encode(Header[] headers) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (DataOutputStream out = new DataOutputStream(bytes)) {
            out.writeInt(headers.length);
            for (Header header : headers) {
                write(out, header.key().getBytes(StandardCharsets.UTF_8));
                write(out, header.value());
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return bytes.toByteArray();
    }

    private static List<Header> decode(byte[] folded) {
        List<Header> headers = new ArrayList<>();
        try (DataInputStream in = new DataInputStream(new ByteArrayInputStream(folded))) {
            for (int left = in.readInt(); left > 0; left--) {
                String name = new String(read(in), StandardCharsets.UTF_8);
                headers.add(new RecordHeader(name, read(in)));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return headers;
    }

    private static void write(DataOutputStream out, byte[] value) throws IOException {
        out.writeInt(value == null ? NULL : value.length);
        if (value != null) {
            out.write(value);
        }
    }

    private static byte[] read(DataInputStream in) throws IOException {
        int length = in.readInt();
        return length == NULL ? null : in.readNBytes(length);
    }
}
