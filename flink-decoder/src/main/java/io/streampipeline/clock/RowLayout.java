package io.streampipeline.clock;

import java.io.Serializable;
import java.util.List;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.DataType;

/**
 * Where a row holds what the source reads of it and writes into it.
 *
 * @param columns of a row
 * @param physical columns in front of the metadata
 * @param offset where a row holds its record's offset
 * @param reason where a row says {@code Heartbeat}
 * @param e where it has its event time
 */
record RowLayout(int columns, int physical, int offset, int reason, int e) implements Serializable {
    private static final String HEARTBEAT = "Heartbeat";

    /**
     * That of rows of a table.
     *
     * @param produced all its columns, the metadata at the end
     * @param metadata the keys of those, in their order
     */
    static RowLayout of(DataType produced, List<String> metadata) {
        int columns = DataType.getFieldCount(produced);
        int physical = columns - metadata.size();
        List<String> names = DataType.getFieldNames(produced);
        return new RowLayout(
                columns,
                physical,
                physical + index(metadata, "offset", "metadata column"),
                index(names, "reason", "column"),
                index(names, "e", "column"));
    }

    private static int index(List<String> names, String name, String what) {
        int index = names.indexOf(name);
        if (index < 0) {
            throw new ValidationException(
                    ClockedKafkaFactory.CONNECTOR + " needs a " + what + " '" + name + "'");
        }
        return index;
    }

    /** The offset of a row's record. */
    long offsetOf(RowData row) {
        return row.getLong(offset);
    }

    /**
     * A heartbeat: a row that stands for no record, so that the end of a window is told of also where no record lies in
     * it. It comes before the record with which a partition's clock passes the end of a window; of several ends that
     * one record passes, the last.
     *
     * @param next the record that comes after it: the heartbeat has its metadata
     * @param end of the window (ms): the event time is the last millisecond before it
     */
    RowData heartbeat(RowData next, long end) {
        GenericRowData row = new GenericRowData(columns);
        // One of its own each time: its lazy fields are not made for sharing between threads.
        row.setField(reason, StringData.fromString(HEARTBEAT));
        row.setField(e, TimestampData.fromEpochMillis(end - 1));
        // As Flink's Kafka source makes them.
        GenericRowData record = (GenericRowData) next;
        for (int i = physical; i < columns; i++) {
            row.setField(i, record.getField(i));
        }
        return row;
    }
}
