package io.streampipeline.decoder;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.avro.AvroRuntimeException;
import org.apache.avro.Schema;

/** Reads a record of one Avro schema: keeps the fields of the plan, checks and skips the others. */
final class AvroReader implements RecordReader {
    /** Reads, or checks and skips, one field of the record. */
    private interface Step {
        void apply(AvroCursor in, Fields fields) throws Malformed;
    }

    private final AvroCursor cursor = new AvroCursor();
    private final Step[] steps;

    private AvroReader(Step[] steps) {
        this.steps = steps;
    }

    /** Throws IllegalArgumentException when the schema is none, or lacks a field of the plan, or mistypes it. */
    static AvroReader of(RecordPlan plan) {
        Schema schema;
        try {
            schema = new Schema.Parser().parse(plan.schema());
        } catch (AvroRuntimeException e) {
            throw new IllegalArgumentException("not an Avro schema: " + e.getMessage(), e);
        }
        if (schema.getType() != Schema.Type.RECORD) {
            throw new IllegalArgumentException("the Avro schema is not a record");
        }
        List<String> numbers = plan.numberFields();
        Set<String> missing = new HashSet<>(numbers);
        missing.add(plan.keyField());
        missing.add(plan.timeField());
        AvroSkipper.Compiler compiler = new AvroSkipper.Compiler();
        List<Step> steps = new ArrayList<>();
        for (Schema.Field field : schema.getFields()) {
            if (missing.remove(field.name())) {
                steps.add(capture(field, plan, numbers.indexOf(field.name())));
            } else {
                AvroSkipper skipper = compiler.compile(field.schema());
                steps.add((in, fields) -> skipper.skip(in));
            }
        }
        if (!missing.isEmpty()) {
            throw new IllegalArgumentException("the Avro schema lacks the fields " + missing);
        }
        return new AvroReader(steps.toArray(Step[]::new));
    }

    @Override
    public void read(byte[] bytes, Fields fields) throws Malformed {
        read(bytes, 0, fields);
    }

    /** Reads from the given position to the end of the bytes. */
    void read(byte[] bytes, int from, Fields fields) throws Malformed {
        cursor.reset(bytes, from);
        cursor.enter();
        for (Step step : steps) {
            step.apply(cursor, fields);
        }
        cursor.expectEnd();
    }

    /** A step that keeps a field's value, for each of the parts that the field plays. */
    private static Step capture(Schema.Field field, RecordPlan plan, int slot) {
        boolean isKey = field.name().equals(plan.keyField());
        boolean isTime = field.name().equals(plan.timeField());
        Schema schema = field.schema();
        if (schema.getType() != Schema.Type.UNION) {
            return captureValue(field.name(), schema, isKey, isTime, slot);
        }
        List<Schema> types = schema.getTypes();
        Step[] branches = new Step[types.size()];
        int values = 0;
        for (int i = 0; i < branches.length; i++) {
            if (types.get(i).getType() == Schema.Type.NULL) {
                branches[i] = (in, fields) -> {};
            } else {
                branches[i] = captureValue(field.name(), types.get(i), isKey, isTime, slot);
                values++;
            }
        }
        if (values != 1) {
            throw unfit(field.name(), schema, "a union of one type, with or without null");
        }
        return (in, fields) -> branches[AvroSkipper.readIndex(in, branches.length)].apply(in, fields);
    }

    private static Step captureValue(String name, Schema schema, boolean isKey, boolean isTime, int slot) {
        if (slot >= 0 && !isNumber(schema)) {
            throw unfit(name, schema, "a number");
        }
        return switch (schema.getType()) {
            case STRING -> captureString(isKey, isTime);
            case INT, LONG -> captureInteger(name, schema, isKey, isTime, slot);
            case FLOAT, DOUBLE -> captureReal(name, schema, isKey || isTime, slot);
            default -> throw unfit(name, schema, isKey ? "a string, int or long" : "a long or a string");
        };
    }

    private static boolean isNumber(Schema schema) {
        return switch (schema.getType()) {
            case INT, LONG, FLOAT, DOUBLE -> true;
            default -> false;
        };
    }

    private static Step captureString(boolean isKey, boolean isTime) {
        return (in, fields) -> {
            byte[] text = in.readString();
            if (isKey) {
                fields.key = text;
            }
            if (isTime) {
                fields.setTime(Rfc3339.parse(new String(text, java.nio.charset.StandardCharsets.UTF_8)));
            }
        };
    }

    private static Step captureInteger(String name, Schema schema, boolean isKey, boolean isTime, int slot) {
        boolean isInt = schema.getType() == Schema.Type.INT;
        if (isTime && isInt) {
            throw unfit(name, schema, "a long or a string");
        }
        long divisor = isTime ? timeDivisor(name, schema) : 1;
        return (in, fields) -> {
            long value = isInt ? in.readInt() : in.readLong();
            if (isKey) {
                fields.key = Long.toString(value).getBytes(java.nio.charset.StandardCharsets.US_ASCII);
            }
            if (isTime) {
                fields.setTime(Math.floorDiv(value, divisor));
            }
            if (slot >= 0) {
                fields.setNumber(slot, (double) value);
            }
        };
    }

    private static long timeDivisor(String name, Schema schema) {
        String logicalType = schema.getProp("logicalType");
        if (logicalType == null || logicalType.equals("timestamp-millis")) {
            return 1;
        }
        if (logicalType.equals("timestamp-micros")) {
            return 1000;
        }
        throw unfit(name, schema, "a plain long, timestamp-millis or timestamp-micros");
    }

    private static Step captureReal(String name, Schema schema, boolean otherPart, int slot) {
        if (otherPart) {
            throw unfit(name, schema, "no floating-point number");
        }
        if (schema.getType() == Schema.Type.FLOAT) {
            return (in, fields) -> fields.setNumber(slot, in.readFloat());
        }
        return (in, fields) -> fields.setNumber(slot, in.readDouble());
    }

    private static IllegalArgumentException unfit(String name, Schema schema, String wanted) {
        return new IllegalArgumentException(
                "the field " + name + " must be " + wanted + ", not " + schema.getType().getName());
    }
}
