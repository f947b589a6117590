package io.streampipeline.decoder;

import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.functions.ScalarFunction;

/** SQL function: the headers of a dead letter, which are the record's own and four that say where it was and why. */
public class DeadLetterHeaders extends ScalarFunction {
    private static final long serialVersionUID = 1L;

    /** The headers, null for none, and {@code streampipeline.reason}, {@code topic}, {@code partition}, {@code offset}. */
    public @DataTypeHint("MAP<STRING, BYTES>") Map<String, byte[]> eval(
            @DataTypeHint("MAP<STRING, BYTES>") Map<String, byte[]> headers,
            String reason,
            String topic,
            Integer partition,
            Long offset) {
        Map<String, byte[]> all = new LinkedHashMap<>(headers == null ? Map.of() : headers);
        all.put("streampipeline.reason", utf8(reason));
        all.put("streampipeline.topic", utf8(topic));
        all.put("streampipeline.partition", utf8(partition));
        all.put("streampipeline.offset", utf8(offset));
        return all;
    }

    private static byte[] utf8(Object value) {
        return String.valueOf(value).getBytes(StandardCharsets.UTF_8);
    }
}
