package io.streampipeline.clock;

import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.LongSupplier;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Looks at the topic once a second, on a thread of its own, for the partitions of one reader. When a look fails, the
 * one before stays.
 */
final class TopicWatch {
    private static final Logger LOG = LoggerFactory.getLogger(TopicWatch.class);
    private static final long PAUSE_MS = 1_000;
    private static final long CLOSING_MS = 2_000;
    private static final int FAILURES_A_WORD = 60;

    private final TopicLookup lookup;
    private final ClockOptions options;
    private final LongSupplier clock;
    private final Thread thread;

    private volatile Map<TopicPartition, Long> positions = Map.of();
    private volatile Look latest = Look.NONE;
    private volatile CompletableFuture<Void> news = new CompletableFuture<>();
    private volatile boolean closed;

    // Of the looking thread.
    private final Map<TopicPartition, Standing> standing = new HashMap<>();
    private final Map<TopicPartition, Look.Stretch> empty = new HashMap<>();
    private long newestBefore = Look.NOTHING;
    private long failures;

    /** A position, and the look since which it has been the same or since which it was last read on from. */
    private record Standing(long position, long nanos) {}

    /** @param clock nanoseconds that never run back */
    TopicWatch(String name, TopicLookup lookup, ClockOptions options, LongSupplier clock) {
        this.lookup = lookup;
        this.options = options;
        this.clock = clock;
        this.thread = new Thread(this::run, name);
        thread.setDaemon(true);
    }

    void start() {
        thread.start();
    }

    /** The reader tells the next offset of each of its partitions. */
    void at(Map<TopicPartition, Long> positions) {
        this.positions = Map.copyOf(positions);
    }

    /** Completes when there is a look that was not taken yet. */
    CompletableFuture<Void> news() {
        return news;
    }

    /** The newest look. From now on {@link #news} waits for the next one. */
    Look take() {
        // In this order: a look that comes in between completes the new future or is returned.
        news = new CompletableFuture<>();
        return latest;
    }

    /** One look. */
    void look() throws Exception {
        Map<TopicPartition, Long> positions = this.positions;
        if (positions.isEmpty()) {
            return;
        }
        long newest = lookup.newest();
        long nanos = clock.getAsLong();
        Map<TopicPartition, Long> ends = lookup.ends(positions.keySet());
        skipEmpty(positions, ends, nanos);
        // The newest record of the look before: records appended earlier than it have had a second to be replicated,
        // until when they are beyond the high watermark.
        latest = new Look(newestBefore, ends, Map.copyOf(empty), nanos);
        newestBefore = newest;
        news.complete(null);
    }

    /** Reads on, with read_committed, where no record has come for long although the end is further on. */
    private void skipEmpty(Map<TopicPartition, Long> positions, Map<TopicPartition, Long> ends, long nanos)
            throws Exception {
        Map<TopicPartition, Long> stuck = new HashMap<>();
        for (Map.Entry<TopicPartition, Long> entry : positions.entrySet()) {
            TopicPartition partition = entry.getKey();
            long position = entry.getValue();
            Standing before = standing.get(partition);
            if (before == null || before.position() != position) {
                empty.remove(partition);
                standing.put(partition, new Standing(position, nanos));
                continue;
            }
            Look.Stretch stretch = empty.get(partition);
            long from = stretch == null ? position : stretch.to();
            if (from < ends.get(partition) && nanos - before.nanos() >= options.idleNanos()) {
                stuck.put(partition, from);
            }
        }
        if (stuck.isEmpty()) {
            return;
        }
        lookup.next(stuck, ends)
                .forEach(
                        (partition, next) -> {
                            long position = positions.get(partition);
                            standing.put(partition, new Standing(position, nanos));
                            empty.put(partition, new Look.Stretch(position, next));
                        });
    }

    private void run() {
        try {
            while (!closed) {
                lookOrSayWhyNot();
                Thread.sleep(PAUSE_MS);
            }
        } catch (InterruptedException e) {
            LOG.debug("{} ends", thread.getName());
        } finally {
            lookup.close();
        }
    }

    private void lookOrSayWhyNot() throws InterruptedException {
        try {
            look();
            failures = 0;
        } catch (InterruptedException e) {
            throw e;
        } catch (Exception e) {
            if (!closed && failures++ % FAILURES_A_WORD == 0) {
                LOG.warn("Idle partitions are waited for: the topic's ends cannot be looked up", e);
            }
        }
    }

    void close() throws InterruptedException {
        closed = true;
        thread.interrupt();
        thread.join(CLOSING_MS);
    }
}
