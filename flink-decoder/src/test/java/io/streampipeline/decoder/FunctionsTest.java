package io.streampipeline.decoder;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class FunctionsTest {
    /** The same numbers stand in {@code test_decode_parts.py}. */
    @ParameterizedTest
    @CsvSource({
        "0, 0, 0",
        "0, 1, 2974544881792",
        "1, 0, 7769684036568",
        "3, 42, 2450601457816",
        "7, 1099511627776, 5929670268254",
        "2147483647, 9223372036854775807, 7611467072847"
    })
    void hashesAreThoseOfTheContract(int partition, long offset, long hash) {
        assertEquals(hash, new RecordHash().eval(partition, offset));
    }

    @Test
    void theHashOfNothingIsNothing() {
        assertNull(new RecordHash().eval(null, 1L));
        assertNull(new RecordHash().eval(1, null));
    }

    @Test
    void deadLettersKeepTheirHeadersAndSayWhy() {
        byte[] own = {1, 2};
        Map<String, byte[]> headers =
                new DeadLetterHeaders().eval(Map.of("trace", own), "TooLate", "stress", 3, 42L);
        assertEquals(5, headers.size());
        assertArrayEquals(own, headers.get("trace"));
        assertText("TooLate", headers, "reason");
        assertText("stress", headers, "topic");
        assertText("3", headers, "partition");
        assertText("42", headers, "offset");
    }

    @Test
    void deadLettersWithoutHeaders() {
        assertEquals(4, new DeadLetterHeaders().eval(null, "EmptyKey", "t", 0, 0L).size());
    }

    private static void assertText(String expected, Map<String, byte[]> headers, String name) {
        assertEquals(expected, new String(headers.get("streampipeline." + name), StandardCharsets.UTF_8));
    }
}
