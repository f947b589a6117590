"""Sinks: where points are kept. Which one a job has is said by its `SinkEndpoint`; see `opening`."""
