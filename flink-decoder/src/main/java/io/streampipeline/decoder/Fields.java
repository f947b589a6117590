package io.streampipeline.decoder;

import java.util.Arrays;

/** What a reader takes from one record; reused from record to record. */
final class Fields {
    /** UTF-8 of the key, or null. */
    byte[] key;

    /** Event time in ms since 1970 UTC; only with {@code hasTime}. */
    long time;

    boolean hasTime;

    /** The fields that aggregates read; only where {@code hasNumber}. */
    final double[] numbers;

    final boolean[] hasNumber;

    Fields(int numberCount) {
        numbers = new double[numberCount];
        hasNumber = new boolean[numberCount];
    }

    void clear() {
        key = null;
        hasTime = false;
        Arrays.fill(hasNumber, false);
    }

    void setTime(long millis) {
        time = millis;
        hasTime = true;
    }

    void setNumber(int slot, double value) {
        numbers[slot] = value;
        hasNumber[slot] = true;
    }
}
