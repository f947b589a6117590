package io.streampipeline.clock;

import java.util.Map;
import org.apache.flink.api.common.eventtime.Watermark;
import org.apache.flink.api.connector.source.ReaderOutput;
import org.apache.flink.api.connector.source.SourceOutput;
import org.apache.flink.table.data.RowData;

/** Hands on to a reader's output and shows each partition's records to its clock. */
final class ClockedOutput implements ReaderOutput<RowData> {
    private final ReaderOutput<RowData> main;
    private final Map<String, PartitionClock> clocks;
    private final RowLayout layout;

    /**
     * @param clocks by split
     */
    ClockedOutput(ReaderOutput<RowData> main, Map<String, PartitionClock> clocks, RowLayout layout) {
        this.main = main;
        this.clocks = clocks;
        this.layout = layout;
    }

    ReaderOutput<RowData> main() {
        return main;
    }

    @Override
    public SourceOutput<RowData> createOutputForSplit(String split) {
        return new OfSplit(main.createOutputForSplit(split), clocks.get(split), layout);
    }

    @Override
    public void releaseOutputForSplit(String split) {
        clocks.remove(split);
        main.releaseOutputForSplit(split);
    }

    @Override
    public void collect(RowData row) {
        main.collect(row);
    }

    @Override
    public void collect(RowData row, long timestamp) {
        main.collect(row, timestamp);
    }

    @Override
    public void emitWatermark(Watermark watermark) {
        main.emitWatermark(watermark);
    }

    @Override
    public void markIdle() {
        main.markIdle();
    }

    @Override
    public void markActive() {
        main.markActive();
    }

    private record OfSplit(SourceOutput<RowData> output, PartitionClock clock, RowLayout layout)
            implements SourceOutput<RowData> {
        @Override
        public void collect(RowData row) {
            throw new IllegalStateException("A record without its Kafka timestamp");
        }

        @Override
        public void collect(RowData row, long t) {
            // First: the row may be used again behind the output. Nobody looks before both are done.
            clock.read(layout.offsetOf(row), t);
            long end = clock.passes(t);
            if (end != PartitionClock.NONE) {
                // Before the record: with its T the watermark passes the end, and a heartbeat would come too late.
                output.collect(layout.heartbeat(row, end), t);
            }
            output.collect(row, t);
        }

        @Override
        public void emitWatermark(Watermark watermark) {
            output.emitWatermark(watermark);
        }

        @Override
        public void markIdle() {
            output.markIdle();
        }

        @Override
        public void markActive() {
            output.markActive();
        }
    }
}
