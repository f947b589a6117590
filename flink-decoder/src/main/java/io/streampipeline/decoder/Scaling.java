package io.streampipeline.decoder;

/** Numbers as scaled integers: sums of them are exact and the same in every engine. */
final class Scaling {
    /** A value that is none: the number is infinite or too large. */
    static final long OUT_OF_RANGE = Long.MIN_VALUE;

    private static final double LIMIT = 0x1p43;
    private static final double[] POWERS = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

    private Scaling() {}

    /** 10^decimals as a float64; decimals from 0 to 9. */
    static double power(int decimals) {
        return POWERS[decimals];
    }

    /** {@code floor(x * power + 0.5)}, or {@link #OUT_OF_RANGE}; x is not NaN. */
    static long scale(double x, double power) {
        double scaled = Math.floor(x * power + 0.5);
        return Math.abs(scaled) < LIMIT ? (long) scaled : OUT_OF_RANGE;
    }
}
