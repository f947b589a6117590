package io.streampipeline.decoder;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/** Strict UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. */
final class Utf8 {
    private Utf8() {}

    static void validate(byte[] bytes, int from, int length) throws Malformed {
        for (int i = from; i < from + length; i++) {
            if (bytes[i] < 0) {
                decode(bytes, i, from + length - i);
                return;
            }
        }
    }

    static String decode(byte[] bytes, int from, int length) throws Malformed {
        try {
            // A new decoder reports errors; the one behind `new String` replaces them.
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes, from, length)).toString();
        } catch (CharacterCodingException e) {
            throw Malformed.INSTANCE;
        }
    }
}
