"""Flink as an engine: SQL submitted through its gateway, one Python function that publishes."""
