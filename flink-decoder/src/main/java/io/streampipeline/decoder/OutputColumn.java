package io.streampipeline.decoder;

import java.io.Serializable;
import java.util.List;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.LogicalTypeRoot;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.utils.LogicalTypeChecks;

/**
 * What goes into a column of the row.
 *
 * @param content the kind of value
 * @param scaled with SCALED: place of the value in the plan's list
 */
record OutputColumn(Content content, int scaled) implements Serializable {
    /** Kinds of values, and the type that a column needs for each. */
    enum Content {
        REASON(LogicalTypeRoot.VARCHAR),
        KEY(LogicalTypeRoot.VARCHAR),
        E(LogicalTypeRoot.TIMESTAMP_WITH_LOCAL_TIME_ZONE),
        E_MS(LogicalTypeRoot.BIGINT),
        RAW(LogicalTypeRoot.VARBINARY),
        SCALED(LogicalTypeRoot.BIGINT);

        private final LogicalTypeRoot type;

        Content(LogicalTypeRoot type) {
            this.type = type;
        }
    }

    /** The contents of a table's columns, by their names. Throws ValidationException for a name or type unknown. */
    static OutputColumn[] of(RowType row, RecordPlan plan) {
        return row.getFields().stream()
                .map(field -> of(field.getName(), field.getType(), plan))
                .toArray(OutputColumn[]::new);
    }

    private static OutputColumn of(String name, LogicalType type, RecordPlan plan) {
        OutputColumn column = byName(name, plan);
        boolean fits = type.getTypeRoot() == column.content.type && type.isNullable();
        if (column.content == Content.E) {
            fits = fits && LogicalTypeChecks.getPrecision(type) == 3;
        }
        if (!fits) {
            throw new ValidationException("Column '" + name + "' must be a nullable "
                    + (column.content == Content.E ? "TIMESTAMP_LTZ(3)" : column.content.type)
                    + ", not " + type.asSummaryString());
        }
        return column;
    }

    private static OutputColumn byName(String name, RecordPlan plan) {
        return switch (name) {
            case "reason" -> new OutputColumn(Content.REASON, -1);
            case "key" -> new OutputColumn(Content.KEY, -1);
            case "e" -> new OutputColumn(Content.E, -1);
            case "e_ms" -> new OutputColumn(Content.E_MS, -1);
            case "raw" -> new OutputColumn(Content.RAW, -1);
            default -> new OutputColumn(Content.SCALED, indexOf(name, plan.scaled()));
        };
    }

    private static int indexOf(String name, List<ScaledColumn> scaled) {
        for (int i = 0; i < scaled.size(); i++) {
            if (scaled.get(i).column().equals(name)) {
                return i;
            }
        }
        throw new ValidationException("The format 'streampipeline' knows no column '" + name + "'");
    }
}
