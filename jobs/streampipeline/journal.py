"""The journal: what was done at a user's request, kept beside what engines keep ("Internal topics").

One partition, compacted: of each key the newest entry stays. Its order decides between two who ask at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from streampipeline.api.spec import Model
from streampipeline.jobconfig import PipelineConfig
from streampipeline.outbox import Outbox
from streampipeline.scan import scan

PARTITION = 0


class Journal:
    """Of one pipeline. Holds no entry in memory. Not for use by several threads."""

    def __init__(self, config: PipelineConfig, should_stop: Callable[[], bool] = lambda: False) -> None:
        self._config = config
        self._should_stop = should_stop
        self._outbox: Outbox | None = None

    def write(self, entries: Mapping[str, Model]) -> None:
        """Append entries by their keys; they are on the broker when this returns.

        Raises Stopped, confluent_kafka.KafkaException.
        """
        if not entries:
            return
        if self._outbox is None:
            self._outbox = Outbox(self._config, self._should_stop)
        for key, entry in entries.items():
            value = entry.model_dump_json(by_alias=True).encode()
            self._outbox.send(self._config.journal_topic, key=key.encode(), value=value, partition=PARTITION)
        self._outbox.flush()

    def read(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """(key without `prefix`, value) of the entries whose key begins with it, in their order.

        Raises what `scan` raises.
        """
        for _, _, message in scan(self._config, self._config.journal_topic):
            key, value = message.key(), message.value()
            name = key.decode(errors="replace") if isinstance(key, bytes) else ""
            if name.startswith(prefix) and value is not None:
                yield name.removeprefix(prefix), value
