"""What one run is told on its command line, and the pipeline that follows from it and the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from streampipeline.api.spec import InfluxDbSink, ParquetSink, Sink, StreamPipelineSpec
from streampipeline.local.faults import Fault


class SinkChoice(StrEnum):
    """`--sink`: as the file says, or files in the working directory."""

    SPEC = "spec"
    PARQUET = "parquet"


@dataclass(frozen=True)
class RunSettings:
    """Seconds where a name does not say otherwise."""

    file: Path
    name: str | None = None
    workdir: Path = Path("build/run")
    keep_workdir: bool = False
    """The user named it: go on where it was."""
    sink: SinkChoice = SinkChoice.SPEC
    duration: float | None = None
    """Length of the stream; None: until Ctrl-C."""
    rate: str = "600"
    data: Path | None = None
    produce: bool = True
    producer_options: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = field(default_factory=tuple)
    partitions: int = 4
    report: Path | None = None
    save_trace: Path | None = None
    json_output: bool = False
    drill_at: float | None = None


def sink_of(spec: StreamPipelineSpec, choice: SinkChoice, workdir: Path) -> InfluxDbSink | ParquetSink:
    """The one sink that a run writes to; a relative path of files is below the working directory."""
    if choice is SinkChoice.PARQUET:
        return ParquetSink(path=str(workdir / "points"))
    sink: Sink = spec.sinks[0]
    if sink.parquet is not None:
        return ParquetSink(path=str(workdir / sink.parquet.path))
    assert sink.influxdb is not None
    return sink.influxdb
