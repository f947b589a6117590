package io.streampipeline.decoder;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads a JSON object (RFC 8259, UTF-8, no byte-order mark, at most 64 levels): of a name that occurs twice the last
 * value counts. Only the fields of the plan are looked at, the rest must be well-formed.
 */
final class JsonReader implements RecordReader {
    private static final JsonFactory FACTORY = JsonFactory.builder()
            .streamReadConstraints(StreamReadConstraints.builder()
                    .maxNestingDepth(64)
                    .maxNumberLength(Integer.MAX_VALUE)
                    .maxStringLength(Integer.MAX_VALUE)
                    .maxNameLength(Integer.MAX_VALUE)
                    .build())
            // Names are the sender's: a table of them that grows is not wanted.
            .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
            .build();

    private final Map<String, Integer> places = new HashMap<>();
    private final String keyField;
    private final String timeField;
    private final List<String> numberFields;
    private final JsonToken[] tokens;
    private final String[] texts;

    JsonReader(RecordPlan plan) {
        keyField = plan.keyField();
        timeField = plan.timeField();
        numberFields = plan.numberFields();
        place(keyField);
        place(timeField);
        numberFields.forEach(this::place);
        tokens = new JsonToken[places.size()];
        texts = new String[places.size()];
    }

    private void place(String field) {
        places.putIfAbsent(field, places.size());
    }

    @Override
    public void read(byte[] bytes, Fields fields) throws Malformed {
        java.util.Arrays.fill(tokens, null);
        String text = Utf8.decode(bytes, 0, bytes.length);
        if (text.startsWith("\uFEFF")) {
            throw Malformed.INSTANCE;
        }
        try (JsonParser parser = FACTORY.createParser(text)) {
            scan(parser, text.contains("\\u"));
        } catch (IOException e) {
            throw Malformed.INSTANCE;
        }
        readKey(fields);
        readTime(fields);
        for (int slot = 0; slot < numberFields.size(); slot++) {
            readNumber(slot, fields);
        }
    }

    private void scan(JsonParser parser, boolean escaped) throws IOException, Malformed {
        if (parser.nextToken() != JsonToken.START_OBJECT) {
            throw Malformed.INSTANCE;
        }
        int depth = 1;
        int place = -1;
        while (depth > 0) {
            JsonToken token = parser.nextToken();
            if (escaped && (token == JsonToken.VALUE_STRING || token == JsonToken.FIELD_NAME)) {
                checkSurrogates(parser.getText());
            }
            if (token == JsonToken.FIELD_NAME) {
                place = depth == 1 ? places.getOrDefault(parser.currentName(), -1) : -1;
                continue;
            }
            if (place >= 0) {
                tokens[place] = token;
                texts[place] = token.isScalarValue() ? parser.getText() : null;
                place = -1;
            }
            if (token.isStructStart()) {
                depth++;
            } else if (token.isStructEnd()) {
                depth--;
            }
        }
        if (parser.nextToken() != null) {
            throw Malformed.INSTANCE;
        }
    }

    /** Half of a surrogate pair, written as an escape, is no character and has no UTF-8. */
    private static void checkSurrogates(String text) throws Malformed {
        if (!StandardCharsets.UTF_8.newEncoder().canEncode(text)) {
            throw Malformed.INSTANCE;
        }
    }

    private void readKey(Fields fields) throws Malformed {
        int place = places.get(keyField);
        switch (token(place)) {
            case VALUE_NULL -> {}
            case VALUE_STRING -> fields.key = texts[place].getBytes(StandardCharsets.UTF_8);
            case VALUE_NUMBER_INT -> fields.key =
                    Long.toString(parseLong(texts[place])).getBytes(StandardCharsets.US_ASCII);
            default -> throw Malformed.INSTANCE;
        }
    }

    private static long parseLong(String text) throws Malformed {
        try {
            return Long.parseLong(text);
        } catch (NumberFormatException e) {
            throw Malformed.INSTANCE;
        }
    }

    private void readTime(Fields fields) throws Malformed {
        int place = places.get(timeField);
        switch (token(place)) {
            case VALUE_NULL -> {}
            case VALUE_STRING -> fields.setTime(Rfc3339.parse(texts[place]));
            case VALUE_NUMBER_INT -> fields.setTime(millis(texts[place]));
            default -> throw Malformed.INSTANCE;
        }
    }

    /** An integer of any length; one that no long holds is out of range whatever it is. */
    private static long millis(String text) {
        try {
            return Long.parseLong(text);
        } catch (NumberFormatException e) {
            return Long.MIN_VALUE;
        }
    }

    private void readNumber(int slot, Fields fields) throws Malformed {
        int place = places.get(numberFields.get(slot));
        switch (token(place)) {
            case VALUE_NULL -> {}
            case VALUE_NUMBER_INT, VALUE_NUMBER_FLOAT -> fields.setNumber(slot, Double.parseDouble(texts[place]));
            default -> throw Malformed.INSTANCE;
        }
    }

    private JsonToken token(int place) throws Malformed {
        if (tokens[place] == null) {
            throw Malformed.INSTANCE;
        }
        return tokens[place];
    }
}
