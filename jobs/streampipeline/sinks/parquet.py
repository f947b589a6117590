"""Parquet files as a sink: needs no server.

A file is written under a name that readers ignore, then renamed, in a folder for its epoch. The fence is
the token file: a writer looks for it after its temporary file exists and before the rename, and `revoke`
removes first the token, then the engine's temporary files. So when `revoke` returns, no file of that engine
can appear any more: a writer that saw the token in time finds its temporary file gone.
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streampipeline.jobconfig import EngineName, ParquetEndpoint
from streampipeline.points import KEY_COLUMN
from streampipeline.sinks.base import Fenced, Rejected, SinkUnavailable, read_token, write_secret

MAX_ROWS = 1_000_000


class ParquetSink:
    """A `Sink`: one file for each call of `write`. Several writers may share a folder."""

    max_rows = MAX_ROWS

    def __init__(self, endpoint: ParquetEndpoint) -> None:
        """Raises Fenced when the token file is gone."""
        self._root = Path(endpoint.path)
        self._token_file = Path(endpoint.token_file)
        read_token(self._token_file)

    def write(self, points: pa.Table) -> list[Rejected]:
        """One table of one epoch, source and `written_ns`. Rejects nothing."""
        if points.num_rows == 0:
            return []
        epoch, source, written_ns = (points[name][0].as_py() for name in ("epoch", "source", "written_ns"))
        folder = epoch_folder(self._root, epoch)
        name = f"{source}-{written_ns}-{secrets.token_hex(4)}.parquet"
        temporary = folder / f".{name}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                self._require_token()
                pq.write_table(points, file)
                file.flush()
                os.fsync(file.fileno())
            self._require_token()
            self._rename(temporary, folder / name)
            _sync_folder(folder)
        except OSError as error:
            raise SinkUnavailable(f"{folder}: {error}") from error
        finally:
            # Gone when all went well. A disk that refuses this too leaves a file that no reader looks at.
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        return []

    def close(self) -> None:
        """Nothing is kept open between writes."""

    def _require_token(self) -> None:
        if not self._token_file.exists():
            raise Fenced(f"the token file {self._token_file} is gone")

    def _rename(self, temporary: Path, final: Path) -> None:
        try:
            temporary.rename(final)
        except FileNotFoundError:
            self._require_token()
            raise


class ParquetAdmin:
    """A `SinkAdmin` for a folder."""

    def __init__(self, endpoint: ParquetEndpoint) -> None:
        self._endpoint = endpoint
        self._root = Path(endpoint.path)

    def prepare(self) -> None:
        """Make the folder. Raises SinkUnavailable."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkUnavailable(f"{self._root}: {error}") from error

    def issue(self, epoch: int, engine: EngineName, token_file: Path) -> bool:
        """Make the token file; True."""
        if not token_file.exists():
            write_secret(token_file, f"{epoch}-{engine.value}")
        return True

    def issue_reader(self, token_file: Path) -> bool:
        """Files are read without a token."""
        write_secret(token_file, "reader")
        return True

    def revoke(self, epoch: int, engine: EngineName, token_file: Path) -> bool:
        """Remove the token, then what the engine has not finished; True: nothing of it can appear now."""
        token_file.unlink(missing_ok=True)
        for temporary in epoch_folder(self._root, epoch).glob(f".{engine.value}-*.parquet"):
            temporary.unlink(missing_ok=True)
        return True

    def clear(self, pipeline: str, start: int, *, epoch: int, token_file: Path) -> None:
        """As `SinkAdmin.clear`: files that hold such points are replaced by what is left of them."""
        self.issue(epoch, EngineName.REPAIR, token_file)
        try:
            for file in sorted(self._root.glob("epoch=*/[!.]*.parquet")):
                points = pq.ParquetFile(file).read()
                gone = pc.and_(
                    pc.equal(points["pipeline"], pa.scalar(pipeline)),
                    pc.greater_equal(points["window_start"], pa.scalar(start)),
                )
                if pc.any(gone).as_py():
                    read_token(token_file)
                    _replace(file, points.filter(pc.invert(gone)))
        except OSError as error:
            raise SinkUnavailable(f"{self._root}: {error}") from error
        self.revoke(epoch, EngineName.REPAIR, token_file)

    def probe(self) -> None:
        """Write and remove a file. Raises SinkUnavailable."""
        touch(self._endpoint)


def epoch_folder(root: Path, epoch: int) -> Path:
    """Where the files of an epoch are."""
    return root / f"epoch={epoch}"


def touch(endpoint: ParquetEndpoint) -> None:
    """Write, sync and remove a file beside the points. Raises SinkUnavailable."""
    canary = Path(endpoint.path) / f".canary-{secrets.token_hex(4)}"
    try:
        with canary.open("wb") as file:
            file.write(str(time.time_ns()).encode())
            file.flush()
            os.fsync(file.fileno())
        canary.unlink()
    except OSError as error:
        raise SinkUnavailable(f"{endpoint.path}: {error}") from error


def read_points(path: Path) -> pa.Table:
    """The points in a folder, one for each address, ordered by pipeline, key, window start.

    Of the rows of one address it is that with the greatest (generation, source is repair, epoch, written_ns).
    An empty folder gives a table without columns. A column that a generation lacks is null in its rows.
    """
    tables = [pq.ParquetFile(file).read() for file in sorted(path.glob("epoch=*/[!.]*.parquet"))]
    if not tables:
        return pa.table({})
    rows = pa.concat_tables(tables, promote_options="default")
    address = ["pipeline", rows.column_names[KEY_COLUMN], "window_start"]
    is_repair = pc.equal(rows["source"], pa.scalar(EngineName.REPAIR.value))
    ranked = rows.append_column("_repair", pc.cast(is_repair, pa.int8()))
    order = [*address, "generation", "_repair", "epoch", "written_ns"]
    ranked = rows.take(pc.sort_indices(ranked, sort_keys=[(name, "ascending") for name in order]))
    ranked = ranked.combine_chunks()
    return ranked.filter(_last_of_each(ranked.select(address)))


def _replace(file: Path, points: pa.Table) -> None:
    """The file holds these points, or is gone when there are none."""
    if points.num_rows == 0:
        file.unlink(missing_ok=True)
        return
    temporary = file.with_name(f".{file.name}")
    pq.write_table(points, temporary)
    temporary.rename(file)
    _sync_folder(file.parent)


def _last_of_each(address: pa.Table) -> pa.Array[Any]:
    """For rows sorted by all their columns: true where the next row differs."""
    differs = pa.array([False] * (address.num_rows - 1), pa.bool_())
    for column in address.columns:
        values = column.combine_chunks()
        differs = pc.or_(differs, pc.not_equal(values.slice(1), values.slice(0, len(values) - 1)))
    return pa.concat_arrays([differs, pa.array([True])])


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
