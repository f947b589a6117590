package io.streampipeline.decoder;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.util.stream.DoubleStream;
import org.junit.jupiter.api.Test;

class ScalingTest {
    /** The same numbers stand in {@code test_decode_parts.py}. */
    @Test
    void halvesGoUp() {
        long[] scaled =
                DoubleStream.of(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)
                        .mapToLong(x -> Scaling.scale(x, Scaling.power(0)))
                        .toArray();
        assertArrayEquals(new long[] {-2, -1, 0, 1, 2, 3}, scaled);
    }
}
