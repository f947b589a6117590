package io.streampipeline.clock;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.apache.flink.api.connector.source.ReaderOutput;
import org.apache.flink.api.connector.source.SourceEvent;
import org.apache.flink.api.connector.source.SourceOutput;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.core.io.InputStatus;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;

/**
 * Hands on one record a poll, as Flink's Kafka reader does, and keeps its calls. Columns: reason, offset, e; as metadata
 * the offset again.
 */
final class FakeReader implements SourceReader<RowData, KafkaPartitionSplit> {
    record Fetched(String split, long offset, long t) {}

    final Deque<Fetched> fetched = new ArrayDeque<>();
    final List<String> calls = new ArrayList<>();
    CompletableFuture<Void> available = new CompletableFuture<>();
    private final Map<String, SourceOutput<RowData>> outputs = new HashMap<>();

    @Override
    public InputStatus pollNext(ReaderOutput<RowData> output) {
        Fetched record = fetched.poll();
        if (record == null) {
            return InputStatus.NOTHING_AVAILABLE;
        }
        // Flink's reader asks once for each split.
        outputs.computeIfAbsent(record.split(), output::createOutputForSplit)
                .collect(GenericRowData.of(null, record.offset(), null, record.offset()), record.t());
        return InputStatus.MORE_AVAILABLE;
    }

    @Override
    public void start() {
        calls.add("start");
    }

    @Override
    public List<KafkaPartitionSplit> snapshotState(long checkpointId) {
        calls.add("snapshot " + checkpointId);
        return List.of();
    }

    @Override
    public CompletableFuture<Void> isAvailable() {
        return available;
    }

    @Override
    public void addSplits(List<KafkaPartitionSplit> splits) {
        calls.add("add " + splits.size());
    }

    @Override
    public void notifyNoMoreSplits() {
        calls.add("no more splits");
    }

    @Override
    public void handleSourceEvents(SourceEvent event) {
        calls.add("event");
    }

    @Override
    public void notifyCheckpointComplete(long checkpointId) {
        calls.add("complete " + checkpointId);
    }

    @Override
    public void notifyCheckpointAborted(long checkpointId) {
        calls.add("aborted " + checkpointId);
    }

    @Override
    public void pauseOrResumeSplits(Collection<String> pause, Collection<String> resume) {
        calls.add("pause " + pause + " resume " + resume);
    }

    @Override
    public void close() {
        calls.add("close");
    }
}
