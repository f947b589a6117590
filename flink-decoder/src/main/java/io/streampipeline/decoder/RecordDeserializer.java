package io.streampipeline.decoder;

import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;

/** One row for each record, tombstones too; no record makes it throw. */
final class RecordDeserializer implements DeserializationSchema<RowData> {
    private static final long serialVersionUID = 1L;

    private final RecordPlan plan;
    private final OutputColumn[] columns;
    private final TypeInformation<RowData> producedType;

    /** Made where it runs: it holds buffers. */
    private transient Judge judge;

    RecordDeserializer(RecordPlan plan, OutputColumn[] columns, TypeInformation<RowData> producedType) {
        this.plan = plan;
        this.columns = columns;
        this.producedType = producedType;
    }

    @Override
    public void open(InitializationContext context) {
        judge = new Judge(plan);
    }

    @Override
    public RowData deserialize(byte[] value) {
        Reason reason = judge.judge(value);
        GenericRowData row = new GenericRowData(columns.length);
        for (int i = 0; i < columns.length; i++) {
            row.setField(i, content(columns[i], value, reason));
        }
        return row;
    }

    private Object content(OutputColumn column, byte[] value, Reason reason) {
        switch (column.content()) {
            case RAW:
                return value;
            case REASON:
                return reason == null ? null : reason.toStringData();
            default:
                return reason == null ? decoded(column) : null;
        }
    }

    private Object decoded(OutputColumn column) {
        return switch (column.content()) {
            case KEY -> StringData.fromBytes(judge.key());
            case E -> TimestampData.fromEpochMillis(judge.time());
            case E_MS -> judge.time();
            case SCALED -> judge.scaled[column.scaled()];
            case RAW, REASON -> throw new IllegalStateException();
        };
    }

    @Override
    public boolean isEndOfStream(RowData nextElement) {
        return false;
    }

    @Override
    public TypeInformation<RowData> getProducedType() {
        return producedType;
    }
}
