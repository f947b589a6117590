"""From refused records to dead letters; and those that only a repair finds out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import polars as pl

from streampipeline.deadletters import DeadLetter, DeadLetterWriter, Header
from streampipeline.decode import Decoder
from streampipeline.jobconfig import PipelineConfig, Span
from streampipeline.outbox import Outbox
from streampipeline.reading import Records


def letters_of(refused: pl.DataFrame, records: Records) -> tuple[DeadLetter, ...]:
    """Of records as `Decoder.decode` returns them, all of which it refused."""
    letters = []
    for partition, offset, t, reason in refused.select("partition", "offset", "t", "reason").iter_rows():
        message = records.message(partition, offset)
        letters.append(
            DeadLetter(
                partition=partition,
                offset=offset,
                t=t,
                reason=reason,
                key=message.key(),
                value=message.value(),
                headers=tuple(cast("list[Header]", message.headers() or [])),
            )
        )
    return tuple(letters)


@dataclass(frozen=True)
class Reader:
    """A generation whose engine has read the records with a Kafka timestamp in its span."""

    span: Span
    decoder: Decoder


def unlettered(decoded: pl.DataFrame, records: Records, span: Span, later: Sequence[Reader]) -> pl.DataFrame:
    """Records that `span` refuses, to whose windows they belong, while the engine that read them did not.

    `decoded`: what the span's decoder said of `records`; `later`: the generations that followed it. They are
    late: had they been on time, an engine of the span would have read them.
    """
    window, nothing = span.config.spec.window, decoded.clear()
    if span.until is None:
        return nothing
    refused = decoded.with_row_index("row").filter(
        pl.col("reason").is_not_null() & (pl.col("t") >= span.until)
    )
    found = []
    for reader in later:
        theirs = refused.filter(pl.col("t") >= reader.span.after)
        if reader.span.until is not None:
            theirs = theirs.filter(pl.col("t") < reader.span.until)
        if theirs.is_empty():
            continue
        last_end = pl.col("e") - pl.col("e") % window.slide_ms + window.size_ms
        good = reader.decoder.decode(records.table.take(theirs["row"].to_list())).select(
            good=pl.col("reason").is_null() & (last_end > span.after) & (last_end <= span.until)
        )
        found.append(theirs.filter(good["good"]).drop("row"))
    return pl.concat([nothing, *found])


class LateRefusals:
    """Writes the dead letters that only the repair of an older generation finds out."""

    def __init__(
        self, config: PipelineConfig, span: Span, later: Sequence[Reader], should_stop: Callable[[], bool]
    ) -> None:
        self._config = config
        self._span = span
        self._later = later
        self._should_stop = should_stop
        self._outbox: Outbox | None = None

    def write(self, decoded: pl.DataFrame, records: Records) -> None:
        """Returns when they are on the broker. Raises Stopped, confluent_kafka.KafkaException."""
        refused = unlettered(decoded, records, self._span, self._later)
        if refused.is_empty():
            return
        if self._outbox is None:
            # Made when first needed: most repairs have none.
            self._outbox = Outbox(self._config, self._should_stop)
        DeadLetterWriter(self._config, self._outbox).write(letters_of(refused, records))
        self._outbox.flush()
