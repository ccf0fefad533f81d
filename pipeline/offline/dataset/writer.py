"""Writing a dataset: rows in chunks, Parquet files by table, day and bucket out, all of them or none."""

from __future__ import annotations

import hashlib
import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import FileError
from pipeline.offline.dataset import staging as stage
from pipeline.offline.dataset.manifest import DataFile, Manifest, replace_file
from pipeline.offline.dataset.staging import Progress, Reading, Request
from pipeline.offline.dataset.tables import BUCKETS, SCHEMAS, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy.typing as npt

DAY_MS: Final = 86_400_000
_ROW_GROUP: Final = 262_144
_COMPRESSION_LEVEL: Final = 3


class Rows(NamedTuple):
    """n rows of a table, in any order.

    `columns` has the table's schema; bucket int32[n]; rank int64[n]: within a file rows are sorted by rank, then time.
    """

    table: Table
    columns: pa.Table
    bucket: npt.NDArray[np.int32]
    rank: npt.NDArray[np.int64]


class FileStore:
    """Writes rows as files below the staging folder of an addition; their names are numbered on from `count`."""

    def __init__(self, folder: Path, prefix: str, count: int, buckets: int) -> None:
        self._folder = folder
        self._prefix = prefix
        self.count = count
        self.buckets = buckets
        """Service buckets of the dataset."""

    def write(self, rows: Rows) -> Iterator[DataFile]:
        """Write these rows into files of their own, one for each day and bucket. Raises FileError."""
        if not rows.columns.num_rows:
            return
        ts = rows.columns["timestamp"].cast(pa.int64()).to_numpy()
        day = ts // DAY_MS
        order, cuts = _in_order(rows, day, ts)
        for places in np.split(order, cuts):
            part = _compact(rows.columns.take(pa.array(places)))
            first = int(places[0])
            yield self._write(rows.table, int(day[first]), int(rows.bucket[first]), part, ts[places])

    def _write(self, table: Table, day: int, bucket: int, part: pa.Table, ts: npt.NDArray[np.int64]) -> DataFile:
        name = np.datetime64(day, "D").astype(str)
        path = f"{table}/day={name}/bucket={bucket}/part-{self._prefix}-{self.count:06d}.parquet"
        content = encode(part, table)
        try:
            staged = self._folder / stage.STAGING / path
            staged.parent.mkdir(parents=True, exist_ok=True)
            replace_file(staged, content)
        except OSError as error:
            raise cannot_write(self._folder, error) from error
        self.count += 1
        return DataFile(
            path=path,
            table=table,
            day=str(name),
            bucket=bucket,
            rows=part.num_rows,
            bytes=len(content),
            first=int(ts.min()),
            last=int(ts.max()),
            sha256=hashlib.sha256(content).hexdigest(),
        )


def cannot_write(folder: Path, error: OSError) -> FileError:
    """What to say where a file of an addition cannot be written."""
    return FileError(
        f"{folder}: cannot be written ({error.strerror}); the dataset is as it was. Free or grant what is "
        "missing and repeat the command: it goes on where it stopped"
    )


class DatasetWriter:
    """One addition to the dataset in `folder`; made by `adding`. See `pipeline.offline.dataset.staging`."""

    def __init__(self, folder: Path, staging: Path, manifest: Manifest, progress: Progress) -> None:
        self._folder = folder
        self._staging = staging
        self.manifest = manifest
        """What the dataset held before."""
        self.progress = progress
        self.resumed = bool(progress.files)
        """Whether an earlier run has staged a part of it."""
        self._files = list(progress.files)
        self._store = FileStore(folder, f"{progress.number:04d}", len(self._files), progress.buckets)

    @property
    def buckets(self) -> int:
        """Service buckets of this dataset."""
        return self.progress.buckets

    def write(self, rows: Rows) -> None:
        """Write these rows into files of their own, one for each day and bucket. Raises FileError."""
        self._files.extend(self._store.write(rows))

    def add(self, files: Iterable[DataFile]) -> None:
        """Files that somebody else has written below the staging folder, with another prefix."""
        self._files.extend(files)

    def checkpoint(
        self,
        *,
        readings: Iterable[Reading] = (),
        origins_done: int = 0,
        reached: int | None = None,
        unreadable: int = 0,
        complete: bool = False,
    ) -> None:
        """What was written so far need not be written again: the source is read so far. Raises FileError."""
        update = {
            "readings": tuple(readings),
            "origins_done": origins_done,
            "reached": reached,
            "unreadable": unreadable,
            # Whoever wrote them in whatever order: an addition is the same.
            "files": tuple(sorted(self._files, key=lambda file: file.path)),
            "complete": complete,
        }
        self.progress = self.progress.model_copy(update=update)
        try:
            stage.save(self._staging, self.progress)
        except OSError as error:
            raise cannot_write(self._folder, error) from error

    def publish(self) -> Manifest:
        """Make the addition, whose last checkpoint is complete, a part of the dataset. Raises FileError."""
        try:
            return stage.publish(self._folder, self._staging, self.progress)
        except OSError as error:
            raise cannot_write(self._folder, error) from error

    def discard(self) -> None:
        """Throw away what is staged: the source has turned out to be bad, and going on with it makes no sense."""
        stage.discard(self._staging)


@contextmanager
def adding(
    folder: Path, request: Request, *, restart: bool = False, buckets: int | None = None
) -> Iterator[DatasetWriter]:
    """A writer for this request: a new one, or one that goes on with what the same request has staged.

    Raises FileError where the folder holds another unfinished request, or somebody else is writing to it.
    """
    with stage.locked(folder) as staging:
        if restart:
            stage.discard(staging)
        staged = stage.load(staging)
        if staged is not None and staged.complete:
            stage.publish(folder, staging, staged)
            staged = None
        if staged is not None and staged.request != request:
            raise FileError(
                f"{folder}: an unfinished export is staged there ({_words(staged.request)}); repeat that command to "
                "finish it, or give --restart to throw it away"
            )
        manifest = stage.current(folder, buckets or BUCKETS)
        _check_buckets(folder, manifest, buckets)
        if staged is None:
            staged = Progress(
                request=request, number=len(manifest.exports) + 1, buckets=manifest.buckets, after=_after(manifest)
            )
        stage.remove_unlisted(staging, staged)
        yield DatasetWriter(folder, staging, manifest, staged)


def _check_buckets(folder: Path, manifest: Manifest, buckets: int | None) -> None:
    if buckets is not None and buckets != manifest.buckets:
        raise FileError(
            f"{folder}: has {manifest.buckets} service buckets, not {buckets}; leave --buckets out, or choose "
            "a new folder"
        )


def _after(manifest: Manifest) -> int | None:
    """End of the last export, where it had one."""
    return manifest.exports[-1].end if manifest.exports else None


def _words(request: Request) -> str:
    ends = [
        f"{name} {np.datetime64(ms, 'ms')}Z"
        for name, ms in (("from", request.start), ("to", request.end))
        if ms is not None
    ]
    return ", ".join(
        [f"from {request.source}" if request.source != "kafka" else "of Kafka", *ends, *request.origins[:3]]
    )


def encode(rows: pa.Table, table: Table) -> memoryview:
    """The rows as one Parquet file: the same bytes for the same rows."""
    words = [field.name for field in SCHEMAS[table] if pa.types.is_dictionary(field.type)]
    times = [field.name for field in SCHEMAS[table] if pa.types.is_timestamp(field.type)]
    sink = io.BytesIO()
    pq.write_table(
        rows,
        sink,
        row_group_size=_ROW_GROUP,
        compression="zstd",
        compression_level=_COMPRESSION_LEVEL,
        # Times rise by equal steps and numbers seldom repeat: dictionaries of them would only be given up again.
        use_dictionary=[*words, *(["series"] if table is Table.SAMPLES else [])],
        column_encoding=dict.fromkeys(times, "DELTA_BINARY_PACKED"),
    )
    return sink.getbuffer()


def _in_order(
    rows: Rows, day: npt.NDArray[np.int64], ts: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Order by bucket, day, rank and time, and the places in it where another file begins."""
    days = day - day.min()
    file = rows.bucket * (int(days.max()) + 1) + days
    key = file * (int(rows.rank.max()) + 1) + rows.rank
    order = np.argsort(key, kind="stable")
    same = np.diff(key[order]) == 0
    if np.any(same & (np.diff(ts[order]) < 0)):
        order = np.lexsort((ts, key))
    return order, np.flatnonzero(np.diff(file[order])) + 1


def _compact(part: pa.Table) -> pa.Table:
    """The same rows, their dictionaries without words that none of them has."""
    columns = []
    for column in part.itercolumns():
        if not pa.types.is_dictionary(column.type):
            columns.append(column)
            continue
        whole = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        columns.append(_compact_words(whole))
    return pa.table(columns, schema=part.schema)


def _compact_words(column: pa.DictionaryArray) -> pa.DictionaryArray:
    codes = column.indices.fill_null(-1).to_numpy()
    used = np.zeros(len(column.dictionary) + 1, dtype=bool)
    used[codes] = True  # null's -1 is the last place
    words = used[:-1]
    place = np.cumsum(words, dtype=np.int32) - np.int32(1)
    renumbered = np.where(codes >= 0, place[codes] if len(place) else codes, 0).astype(np.int32)
    return pa.DictionaryArray.from_arrays(
        pa.array(renumbered, mask=codes < 0), column.dictionary.filter(pa.array(words))
    )
