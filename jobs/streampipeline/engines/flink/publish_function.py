"""The one Python function inside Flink: called once for each batch of finished windows.

It returns, for each window, 1 once its point is in the sink: Flink's progress stands behind its output. It
raises when the engine has lost the right to write; the job then fails and the operator finds it retired.
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyflink.table import DataTypes
from pyflink.table.udf import udf

from streampipeline.job_file import load_when_there
from streampipeline.jobconfig import EngineName
from streampipeline.logs import configure
from streampipeline.publish import Publisher
from streampipeline.windows_schema import windows_schema

_LOCK = threading.Lock()
configure(through_logging=True)


@cache
def _publisher(config_file: str) -> tuple[Publisher, pa.Schema]:
    config = load_when_there(Path(config_file))
    return Publisher.open(config, source=EngineName.FLINK), windows_schema(config.spec)


def _milliseconds(column: pd.Series) -> pd.Series:
    """Timestamps (UTC, no zone) as int64 milliseconds, whatever their unit is."""
    return column.astype("datetime64[ms]").astype("int64")


def publish_batch(config_file: str, columns: list[pd.Series]) -> pd.Series:
    """Publish one batch; `columns` are those of a finished window. Returns int64 ones, one a window."""
    with _LOCK:
        publisher, schema = _publisher(config_file)
        key, start, end, *numbers = columns
        arrays = [key, _milliseconds(start), _milliseconds(end), *numbers]
        table = pa.Table.from_arrays(
            [pa.array(array, type=field.type) for array, field in zip(arrays, schema, strict=True)],
            schema=schema,
        )
        publisher.publish(table)
    return pd.Series(1, index=key.index, dtype="int64")


@udf(  # type: ignore[untyped-decorator]
    result_type=DataTypes.BIGINT(), func_type="pandas", deterministic=False
)
def publish(*arguments: Any) -> pd.Series:
    """See `publish_batch`; the path comes last, and as a literal of the SQL text arrives as it is."""
    *columns, config_file = arguments
    return publish_batch(config_file, columns)
