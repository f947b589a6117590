package io.streampipeline.clock;

import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.common.eventtime.Watermark;
import org.apache.flink.api.connector.source.ReaderOutput;
import org.apache.flink.api.connector.source.SourceOutput;
import org.apache.flink.table.data.RowData;

/** Writes down all that is handed on, in order. */
final class FakeOutput implements ReaderOutput<RowData> {
    final List<String> seen = new ArrayList<>();

    @Override
    public SourceOutput<RowData> createOutputForSplit(String split) {
        return new SourceOutput<>() {
            @Override
            public void collect(RowData row) {
                throw new AssertionError();
            }

            @Override
            public void collect(RowData row, long t) {
                if (row.isNullAt(0)) {
                    seen.add(split + " record " + row.getLong(1) + " T " + t);
                } else {
                    seen.add(split + " " + row.getString(0) + " e " + row.getTimestamp(2, 3).getMillisecond()
                            + " T " + t + " before " + row.getLong(3));
                }
            }

            @Override
            public void emitWatermark(Watermark watermark) {
                seen.add(split + " watermark " + watermark.getTimestamp());
            }

            @Override
            public void markIdle() {
                seen.add(split + " idle");
            }

            @Override
            public void markActive() {
                seen.add(split + " active");
            }
        };
    }

    @Override
    public void releaseOutputForSplit(String split) {
        seen.add(split + " released");
    }

    @Override
    public void collect(RowData row) {
        throw new AssertionError();
    }

    @Override
    public void collect(RowData row, long t) {
        throw new AssertionError();
    }

    @Override
    public void emitWatermark(Watermark watermark) {
        seen.add("main watermark " + watermark.getTimestamp());
    }

    @Override
    public void markIdle() {
        seen.add("main idle");
    }

    @Override
    public void markActive() {
        seen.add("main active");
    }
}
