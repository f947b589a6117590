package io.streampipeline.clock;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.core.io.InputStatus;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.junit.jupiter.api.Test;

/** The reader on a topic of two partitions, 0 and 1: lag 100 ms, idle after 1000 ms. */
class ClockedReaderTest {
    private static final TopicPartition ZERO = new TopicPartition("t", 0);
    private static final TopicPartition ONE = new TopicPartition("t", 1);

    /** Of rows with the columns reason, offset, e, offset again: the last one is metadata. */
    private static final RowLayout LAYOUT = new RowLayout(4, 3, 1, 0, 2);

    private static final long SLIDE_MS = 1000;

    private final FakeLookup topic = new FakeLookup();
    private final FakeReader kafka = new FakeReader();
    private final FakeOutput output = new FakeOutput();
    private long nanos = 5_000_000_000L;
    private TopicWatch watch;
    private ClockedReader reader;

    private void given(boolean byWallClock, long positionOfZero, long positionOfOne) {
        ClockOptions options = new ClockOptions(100, SLIDE_MS, 1000, byWallClock);
        watch = new TopicWatch("test", topic, options, () -> nanos);
        reader = new ClockedReader(kafka, watch, options, LAYOUT, false);
        reader.addSplits(
                List.of(new KafkaPartitionSplit(ZERO, positionOfZero), new KafkaPartitionSplit(ONE, positionOfOne)));
    }

    private void topicIs(long newest, long endOfZero, long endOfOne) {
        topic.newest = newest;
        topic.ends.put(ZERO, endOfZero);
        topic.ends.put(ONE, endOfOne);
    }

    private void fetched(TopicPartition partition, long offset, long t) {
        kafka.fetched.add(new FakeReader.Fetched(partition.toString(), offset, t));
    }

    /** Polls until nothing is there; returns what was handed on, heartbeats left out. */
    private List<String> polled() throws Exception {
        List<String> seen = polledAll();
        seen.removeIf(text -> text.contains("Heartbeat"));
        return seen;
    }

    private List<String> polledAll() throws Exception {
        output.seen.clear();
        InputStatus status;
        do {
            status = reader.pollNext(output);
        } while (status == InputStatus.MORE_AVAILABLE);
        return new ArrayList<>(output.seen);
    }

    /** Two looks, a second after each other: the first one's newest record is the second one's clock. */
    private void looked() throws Exception {
        watch.look();
        nanos += 1_000_000_000L;
        watch.look();
    }

    @Test
    void aPartitionAtItsEndFollowsTheNewestRecordOfTheTopic() throws Exception {
        given(false, 0, 0);
        topicIs(9000, 50, 2);
        fetched(ONE, 0, 4000);
        fetched(ONE, 1, 5000);
        assertEquals(List.of("t-1 record 0 T 4000", "t-1 record 1 T 5000"), polled());

        looked();

        assertEquals(List.of("t-1 watermark 8900"), polled());
    }

    @Test
    void recordsComeBeforeTheWatermarkThatTheyLeadTo() throws Exception {
        given(false, 50, 0);
        topicIs(9000, 50, 1);
        fetched(ONE, 0, 5000);
        looked();

        // Partition 1 is not at its end yet when the look is taken: its watermark waits for the next look.
        assertEquals(List.of("t-0 watermark 8900", "t-1 record 0 T 5000"), polled());
        watch.look();
        assertEquals(List.of("t-0 watermark 8900", "t-1 watermark 8900"), polled());
    }

    @Test
    void aPartitionWithUnreadRecordsIsWaitedForHoweverLong() throws Exception {
        given(false, 0, 0);
        topicIs(1_000_000_000, 50, 3);
        fetched(ONE, 0, 4000);
        polled();
        for (int i = 0; i < 100; i++) {
            looked();
            assertEquals(List.of(), polled());
        }
    }

    @Test
    void aPartitionThatIsLessThanTheIdleTimeBehindIsWaitedFor() throws Exception {
        given(false, 0, 0);
        topicIs(5999, 50, 1);
        fetched(ONE, 0, 5000);
        polled();
        looked();
        assertEquals(List.of(), polled());

        topicIs(6000, 50, 1);
        looked();
        assertEquals(List.of("t-1 watermark 5900"), polled());
    }

    @Test
    void aPartitionThatWakesIsWaitedForAgain() throws Exception {
        given(false, 50, 0);
        topicIs(9000, 51, 0);
        looked();
        assertEquals(List.of("t-1 watermark 8900"), polled());

        topicIs(20_000, 51, 1);
        looked();
        assertEquals(List.of(), polled());
    }

    @Test
    void aRestoredPositionAtTheEndIsIdleAndOneBeforeItIsNot() throws Exception {
        given(false, 49, 7);
        topicIs(9000, 50, 7);

        looked();

        assertEquals(List.of("t-1 watermark 8900"), polled());
    }

    @Test
    void anEmptyTopicHasNoClock() throws Exception {
        given(false, 0, 0);
        topicIs(Look.NOTHING, 0, 0);
        looked();
        assertEquals(List.of(), polled());
    }

    @Test
    void onWallClockAPartitionMustAlsoHaveStoodAtItsEnd() throws Exception {
        given(true, 0, 3);
        topicIs(9000, 50, 3);
        watch.look();
        assertEquals(List.of(), polled());
        nanos += 999_000_000L;
        watch.look();
        assertEquals(List.of(), polled());
        nanos += 1_000_000L;
        watch.look();
        assertEquals(List.of("t-1 watermark 8900"), polled());
    }

    @Test
    void onWallClockARecordBetweenTwoLooksBeginsTheTimeAnew() throws Exception {
        given(true, 0, 3);
        topicIs(9000, 50, 3);
        watch.look();
        polled();
        nanos += 900_000_000L;
        topicIs(9000, 50, 4);
        fetched(ONE, 3, 6000);
        polled();
        watch.look();
        polled();
        nanos += 900_000_000L;
        watch.look();
        assertEquals(List.of(), polled());
        nanos += 100_000_000L;
        watch.look();
        assertEquals(List.of("t-1 watermark 8900"), polled());
    }

    @Test
    void aPartitionThatEndsInMarkersIsReadToItsEndWhenNothingIsBehindThePosition() throws Exception {
        given(false, 0, 3);
        topicIs(9000, 50, 5);
        topic.next.put(ONE, 5L);
        looked();

        assertEquals(List.of("t-1 watermark 8900"), polled());
    }

    @Test
    void behindMarkersTheReadingGoesOnWhereItEnded() throws Exception {
        given(false, 50, 3);
        topicIs(9000, 50, 5);
        topic.next.put(ONE, 5L);
        looked();
        assertEquals(List.of("t-0 watermark 8900", "t-1 watermark 8900"), polled());

        topicIs(9000, 50, 7);
        topic.next.put(ONE, 6L);
        looked();
        assertEquals(List.of("t-0 watermark 8900"), polled());
        assertEquals("next [5]", topic.asked.get(topic.asked.size() - 1));
    }

    @Test
    void anOpenTransactionIsWaitedFor() throws Exception {
        given(false, 50, 3);
        topicIs(9000, 50, 5);
        topic.next.put(ONE, 4L);
        looked();
        assertEquals(List.of("t-0 watermark 8900"), polled());
        looked();
        assertEquals(List.of("t-0 watermark 8900"), polled());
    }

    @Test
    void theNewestRecordIsLookedUpBeforeTheEnds() throws Exception {
        given(false, 0, 0);
        topicIs(9000, 0, 0);
        watch.look();
        assertEquals(List.of("newest", "ends"), topic.asked);
    }

    @Test
    void theClockIsTheNewestRecordOfTheLookBefore() throws Exception {
        given(false, 50, 0);
        topicIs(9000, 51, 0);
        watch.look();
        assertEquals(List.of(), polled());
        topicIs(30_000, 60, 0);
        watch.look();
        assertEquals(List.of("t-1 watermark 8900"), polled());
    }

    @Test
    void aLookThatFailsChangesNothing() throws Exception {
        given(false, 0, 0);
        topicIs(9000, 50, 0);
        looked();
        polled();
        topic.broken = true;
        assertThrows(Exception.class, watch::look);
        assertFalse(reader.isAvailable().isDone());
        assertEquals(List.of(), polled());
    }

    @Test
    void aLookMakesTheReaderAvailableOnce() throws Exception {
        given(false, 0, 0);
        topicIs(9000, 50, 0);
        var waiting = reader.isAvailable();
        assertFalse(waiting.isDone());
        assertSame(waiting, reader.isAvailable());

        watch.look();

        assertTrue(waiting.isDone());
        polled();
        assertFalse(reader.isAvailable().isDone());
    }

    @Test
    void recordsMakeTheReaderAvailable() throws Exception {
        given(false, 0, 0);
        var waiting = reader.isAvailable();
        kafka.available.complete(null);
        assertTrue(waiting.isDone());
        assertSame(kafka.available, reader.isAvailable());
    }

    @Test
    void withoutSplitsNothingIsLookedUp() throws Exception {
        watch = new TopicWatch("test", topic, new ClockOptions(100, SLIDE_MS, 1000, false), () -> nanos);
        watch.look();
        assertEquals(List.of(), topic.asked);
    }

    @Test
    void aSubtaskThatGetsNoPartitionIsMarkedIdleOnce() throws Exception {
        ClockOptions options = new ClockOptions(100, SLIDE_MS, 1000, false);
        watch = new TopicWatch("test", topic, options, () -> nanos);
        reader = new ClockedReader(kafka, watch, options, LAYOUT, true);
        assertEquals(List.of("main idle"), polled());
        assertEquals(List.of(), polled());
    }

    @Test
    void aHeartbeatComesBeforeTheRecordThatPassesTheEndOfAWindow() throws Exception {
        given(false, 0, 0);
        fetched(ONE, 0, 5099);
        fetched(ONE, 1, 6098);
        fetched(ONE, 2, 6099);
        fetched(ONE, 3, 6100);
        assertEquals(
                List.of(
                        "t-1 Heartbeat e 4999 T 5099 before 0",
                        "t-1 record 0 T 5099",
                        // Its watermark is 5998: the window that ends at 6000 stays open.
                        "t-1 record 1 T 6098",
                        "t-1 Heartbeat e 5999 T 6099 before 2",
                        "t-1 record 2 T 6099",
                        "t-1 record 3 T 6100"),
                polledAll());
    }

    @Test
    void ofSeveralEndsThatOneRecordPassesTheLastHasAHeartbeat() throws Exception {
        given(false, 0, 0);
        fetched(ONE, 0, 5099);
        fetched(ONE, 1, 9500);
        // A clock does not go back.
        fetched(ONE, 2, 7500);
        fetched(ONE, 3, 10_098);
        assertEquals(
                List.of(
                        "t-1 Heartbeat e 4999 T 5099 before 0",
                        "t-1 record 0 T 5099",
                        "t-1 Heartbeat e 8999 T 9500 before 1",
                        "t-1 record 1 T 9500",
                        "t-1 record 2 T 7500",
                        "t-1 record 3 T 10098"),
                polledAll());
    }

    @Test
    void eachPartitionHasHeartbeatsOfItsOwn() throws Exception {
        given(false, 0, 0);
        fetched(ZERO, 7, 5099);
        fetched(ONE, 0, 5099);
        assertEquals(
                List.of(
                        "t-0 Heartbeat e 4999 T 5099 before 7",
                        "t-0 record 7 T 5099",
                        "t-1 Heartbeat e 4999 T 5099 before 0",
                        "t-1 record 0 T 5099"),
                polledAll());
    }

    @Test
    void allElseIsHandedOn() throws Exception {
        given(false, 0, 0);
        reader.snapshotState(4);
        reader.notifyCheckpointComplete(4);
        reader.notifyCheckpointAborted(5);
        reader.notifyNoMoreSplits();
        reader.handleSourceEvents(null);
        reader.pauseOrResumeSplits(List.of("a"), List.of("b"));
        assertEquals(
                List.of("add 2", "snapshot 4", "complete 4", "aborted 5", "no more splits", "event",
                        "pause [a] resume [b]"),
                kafka.calls);
    }

    @Test
    void theWatchLooksByItselfAndEndsWithTheReader() throws Exception {
        given(false, 50, 0);
        topicIs(9000, 51, 0);
        reader.start();
        assertTimeoutPreemptively(
                Duration.ofSeconds(20),
                () -> {
                    while (!polled().contains("t-1 watermark 8900")) {
                        reader.isAvailable().get();
                    }
                });
        reader.close();
        assertEquals("close", topic.asked.get(topic.asked.size() - 1));
        assertEquals("close", kafka.calls.get(kafka.calls.size() - 1));
    }
}
