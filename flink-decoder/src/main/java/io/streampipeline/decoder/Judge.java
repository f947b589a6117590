package io.streampipeline.decoder;

import java.util.List;

/** Gives a record its verdict: the first reason that applies, or its key, event time and scaled values. */
final class Judge {
    private static final long MAX_TIME = 253402300799999L;

    private final RecordReader reader;
    private final Fields fields;
    private final int[] slots;
    private final double[] powers;

    /** The scaled values of the last record; only when it was not refused. */
    final long[] scaled;

    Judge(RecordPlan plan) {
        List<String> numberFields = plan.numberFields();
        reader = plan.newReader();
        fields = new Fields(numberFields.size());
        slots = plan.scaled().stream().mapToInt(c -> numberFields.indexOf(c.field())).toArray();
        powers = plan.scaled().stream().mapToDouble(c -> Scaling.power(c.decimals())).toArray();
        scaled = new long[slots.length];
    }

    /** UTF-8 of the last record's key; only when it was not refused. */
    byte[] key() {
        return fields.key;
    }

    /** Event time of the last record, ms; only when it was not refused. */
    long time() {
        return fields.time;
    }

    /** Judges a record's value; null is a tombstone. Returns null when nothing is wrong with it. */
    Reason judge(byte[] value) {
        fields.clear();
        if (value == null) {
            return Reason.UNDECODABLE;
        }
        try {
            reader.read(value, fields);
        } catch (Malformed e) {
            return Reason.UNDECODABLE;
        }
        if (fields.key == null || fields.key.length == 0) {
            return Reason.EMPTY_KEY;
        }
        if (!fields.hasTime || fields.time < 0 || fields.time > MAX_TIME) {
            return Reason.EVENT_TIME_OUT_OF_RANGE;
        }
        return scale();
    }

    private Reason scale() {
        for (int i = 0; i < fields.numbers.length; i++) {
            if (!fields.hasNumber[i] || Double.isNaN(fields.numbers[i])) {
                return Reason.NOT_A_NUMBER;
            }
        }
        for (int i = 0; i < slots.length; i++) {
            scaled[i] = Scaling.scale(fields.numbers[slots[i]], powers[i]);
            if (scaled[i] == Scaling.OUT_OF_RANGE) {
                return Reason.OUT_OF_RANGE;
            }
        }
        return null;
    }
}
