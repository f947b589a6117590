/**
 * A Flink format that decodes each Kafka record once and gives it a verdict instead of failing on it.
 *
 * <p>Its twin is {@code streampipeline.decode} in Python: {@code tests/corpus} holds both to the same verdicts and
 * the same scaled values.
 */
package io.streampipeline.decoder;
