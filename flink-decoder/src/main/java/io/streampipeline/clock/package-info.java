/**
 * A Kafka table source with exact partition clocks, in place of Flink's idleness.
 *
 * <p>Flink's idle timeout goes by wall clock and may take a partition with unread records for idle: the watermark
 * then runs ahead and on-time records are dropped. Here a partition is not waited for only when it was read to its
 * very end. The rule is that of {@code streampipeline.engines.dask.clocks} in Python.
 */
package io.streampipeline.clock;
