package io.streampipeline.decoder;

import org.apache.flink.table.functions.ScalarFunction;

/** SQL function: 43 bits that stand for a record; the sum over a window's records does not depend on their order. */
public class RecordHash extends ScalarFunction {
    private static final long serialVersionUID = 1L;

    /** Hash of the record at an offset of a partition, at least 0 and below 2^43; null when either is null. */
    public Long eval(Integer partition, Long offset) {
        return partition == null || offset == null ? null : mix(partition, offset);
    }

    static long mix(int partition, long offset) {
        long z = partition * 0x9E3779B97F4A7C15L + offset;
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        z = z ^ (z >>> 31);
        return z >>> 21;
    }
}
