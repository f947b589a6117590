/**
 * A record's headers on their way through Flink, whose Kafka connector knows them as a map: it would lose their order,
 * all but one of those that share a name, and those without a value. They travel in a single header.
 */
package io.streampipeline.headers;
