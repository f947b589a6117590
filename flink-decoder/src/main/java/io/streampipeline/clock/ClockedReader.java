package io.streampipeline.clock;

import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.apache.flink.api.common.eventtime.Watermark;
import org.apache.flink.api.connector.source.ReaderOutput;
import org.apache.flink.api.connector.source.SourceEvent;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.core.io.InputStatus;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.table.data.RowData;

/**
 * Reads as the reader it wraps, and raises the watermark of each partition that need not be waited for.
 *
 * <p>A partition's output keeps the highest watermark: the strategy's own, which stands at the partition's last record,
 * does not pull it back. Outputs are there before the first record, so that a partition without records holds the
 * others back until it is known to be idle.
 */
@SuppressWarnings("try") // Flink's interface lets close() throw anything, an interrupt too.
final class ClockedReader implements SourceReader<RowData, KafkaPartitionSplit> {
    private final SourceReader<RowData, KafkaPartitionSplit> reader;
    private final TopicWatch watch;
    private final ClockOptions options;
    private final RowLayout layout;

    /** By split. */
    private final Map<String, PartitionClock> clocks = new LinkedHashMap<>();

    private ClockedOutput output;
    private boolean toBeMarkedIdle;
    private CompletableFuture<Void> records;
    private CompletableFuture<Void> news;
    private CompletableFuture<Void> recordsOrNews;

    /**
     * @param forNothing whether this subtask is none that gets a partition
     */
    ClockedReader(
            SourceReader<RowData, KafkaPartitionSplit> reader,
            TopicWatch watch,
            ClockOptions options,
            RowLayout layout,
            boolean forNothing) {
        this.reader = reader;
        this.watch = watch;
        this.options = options;
        this.layout = layout;
        this.toBeMarkedIdle = forNothing;
    }

    @Override
    public void start() {
        reader.start();
        watch.start();
    }

    @Override
    public InputStatus pollNext(ReaderOutput<RowData> main) throws Exception {
        if (output == null || output.main() != main) {
            output = new ClockedOutput(main, clocks, layout);
        }
        if (toBeMarkedIdle && clocks.isEmpty()) {
            main.markIdle();
        }
        toBeMarkedIdle = false;
        if (watch.news().isDone()) {
            raise(watch.take());
        }
        return reader.pollNext(output);
    }

    private void raise(Look look) {
        for (Map.Entry<String, PartitionClock> clock : clocks.entrySet()) {
            long watermark = clock.getValue().watermark(look);
            if (watermark != PartitionClock.NONE) {
                output.main().createOutputForSplit(clock.getKey()).emitWatermark(new Watermark(watermark));
            }
        }
        tellPositions();
    }

    private void tellPositions() {
        Map<TopicPartition, Long> positions = new HashMap<>();
        clocks.values().forEach(clock -> positions.put(clock.partition(), clock.position()));
        watch.at(positions);
    }

    @Override
    public CompletableFuture<Void> isAvailable() {
        CompletableFuture<Void> records = reader.isAvailable();
        if (records.isDone()) {
            return records;
        }
        CompletableFuture<Void> news = watch.news();
        if (records != this.records || news != this.news) {
            this.records = records;
            this.news = news;
            recordsOrNews = CompletableFuture.anyOf(records, news).thenRun(() -> {});
        }
        return recordsOrNews;
    }

    @Override
    public void addSplits(List<KafkaPartitionSplit> splits) {
        for (KafkaPartitionSplit split : splits) {
            PartitionClock clock =
                    new PartitionClock(split.getTopicPartition(), split.getStartingOffset(), options);
            clocks.put(split.splitId(), clock);
        }
        tellPositions();
        reader.addSplits(splits);
    }

    @Override
    public List<KafkaPartitionSplit> snapshotState(long checkpointId) {
        return reader.snapshotState(checkpointId);
    }

    @Override
    public void notifyNoMoreSplits() {
        reader.notifyNoMoreSplits();
    }

    @Override
    public void handleSourceEvents(SourceEvent event) {
        reader.handleSourceEvents(event);
    }

    @Override
    public void notifyCheckpointComplete(long checkpointId) throws Exception {
        reader.notifyCheckpointComplete(checkpointId);
    }

    @Override
    public void notifyCheckpointAborted(long checkpointId) throws Exception {
        reader.notifyCheckpointAborted(checkpointId);
    }

    @Override
    public void pauseOrResumeSplits(Collection<String> pause, Collection<String> resume) {
        reader.pauseOrResumeSplits(pause, resume);
    }

    @Override
    public void close() throws Exception {
        try {
            watch.close();
        } finally {
            reader.close();
        }
    }
}
