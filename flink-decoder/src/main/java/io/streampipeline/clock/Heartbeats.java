package io.streampipeline.clock;

import java.io.Serializable;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.DataType;

/**
 * Makes heartbeats: rows that stand for no record, so that the end of a window is told of also where no record lies in
 * it. One comes before the record with which a partition's clock passes the end of a window; of several ends that one
 * record passes, the last.
 *
 * @param columns of a row
 * @param physical columns in front of the metadata
 * @param reason where a row says {@code Heartbeat}
 * @param e where it has its event time, the last millisecond before the end
 */
record Heartbeats(int columns, int physical, int reason, int e) implements Serializable {
    private static final String HEARTBEAT = "Heartbeat";

    /**
     * For rows of a table.
     *
     * @param produced all its columns, the metadata at the end
     * @param metadata how many they are
     */
    static Heartbeats of(DataType produced, int metadata) {
        int columns = DataType.getFieldCount(produced);
        return new Heartbeats(columns, columns - metadata, column(produced, "reason"), column(produced, "e"));
    }

    private static int column(DataType produced, String name) {
        int index = DataType.getFieldNames(produced).indexOf(name);
        if (index < 0) {
            throw new ValidationException(ClockedKafkaFactory.CONNECTOR + " needs a column '" + name + "'");
        }
        return index;
    }

    /** The one of a window that ends at {@code end} (ms), with the metadata of the record that comes after it. */
    RowData before(RowData record, long end) {
        GenericRowData row = new GenericRowData(columns);
        // One of its own each time: its lazy fields are not made for sharing between threads.
        row.setField(reason, StringData.fromString(HEARTBEAT));
        row.setField(e, TimestampData.fromEpochMillis(end - 1));
        // As Flink's Kafka source makes them.
        GenericRowData next = (GenericRowData) record;
        for (int i = physical; i < columns; i++) {
            row.setField(i, next.getField(i));
        }
        return row;
    }
}
