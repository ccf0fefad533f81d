"""Reading a dataset in Python: as a stream of Arrow batches, a pandas table, or a numpy cube."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pds

from pipeline.errors import FileError
from pipeline.offline.dataset import labels, times
from pipeline.offline.dataset.manifest import read_manifest
from pipeline.offline.dataset.tables import SCHEMAS, TIME, Table, bucket_of
from pipeline.offline.dataset.times import Moment, Span, moment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import numpy.typing as npt
    import pandas as pd

    from pipeline.offline.dataset.manifest import DataFile

_BATCH_ROWS = 131_072
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Cube:
    """Frames as numbers: value float64[t, services, signals], NaN where there is none; start int64[t] in ms."""

    value: npt.NDArray[np.float64]
    start: npt.NDArray[np.int64]
    services: Sequence[str]
    signals: Sequence[str]
    step_ms: int


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of a table: of these services or buckets, from `start` up to, not including, `end`; None: all."""

    services: Collection[str] | None = None
    start: Moment | None = None
    end: Moment | None = None
    buckets: Collection[int] | None = None


class Dataset:
    """A folder that `duri dataset` has filled. Raises FileError where it is none.

    Nothing is loaded before it is asked for, and `scan` never holds more than a batch.
    """

    def __init__(
        self,
        folder: Path | str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        only: Collection[str] | None = None,
    ) -> None:
        """`start` up to, not including, `end`: what came before or since is as if it were not there; None: open.

        `only`: other services are as if they were not there; None: all are.
        Raises FileError where it is none, SettingsError for a time that cannot be read.
        """
        self.folder = Path(folder)
        self._start, self._end = (None if one is None else moment(one) for one in (start, end))
        self.manifest = read_manifest(self.folder).within(self._start, self._end)
        self._words: dict[tuple[Table, str], list[str]] = {}
        self._only = None if only is None else frozenset(only)

    def concerning(self, services: str) -> Dataset:
        """The same as if it held no other services than those whose whole name matches this regular expression.

        Raises FileError where none does.
        """
        meant = [one for one in self.services() if re.fullmatch(services, one)]
        if not meant:
            raise FileError(f"{self.folder}: has no frames of a service that matches {services!r}")
        return Dataset(self.folder, self._start, self._end, only=meant)

    @property
    def fingerprint(self) -> str:
        """Hash of all files that it holds anything in."""
        return self.manifest.fingerprint

    @property
    def span(self) -> Span:
        """Event time of its samples and frames. Raises FileError where it is empty."""
        found = self.manifest.span()
        if found is None:
            raise FileError(f"{self.folder}: holds no rows; export a range that has some")
        first, after = found[0], found[1] + 1
        start = first if self._start is None else max(first, self._start)
        return Span(start, after if self._end is None else min(after, self._end))

    def scan(
        self, table: Table | str, selection: Selection | None = None, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Rows as Arrow batches, file by file (day, bucket), in the order of the files' rows.

        Raises FileError where a file is missing, truncated or altered in its columns.
        """
        table, selection = Table(table), self._bounded(selection or Selection())
        wanted = _filter(table, selection)
        for file in self._files(table, selection):
            try:
                found = pds.dataset(self.folder / file.path, schema=SCHEMAS[table], format="parquet")
                scanner = found.scanner(
                    columns=None if columns is None else list(columns), filter=wanted, batch_size=_BATCH_ROWS
                )
                yield from (batch for batch in scanner.to_batches() if batch.num_rows)
            except (OSError, pa.ArrowInvalid) as error:
                raise FileError(
                    f"{self.folder / file.path}: cannot be read ({error}); `duri dataset verify {self.folder}` shows "
                    "what is damaged"
                ) from error

    def read(
        self, table: Table | str, selection: Selection | None = None, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Rows as one pandas table, in order of time: for what fits into memory. Raises FileError."""
        table = Table(table)
        schema = SCHEMAS[table] if columns is None else pa.schema([SCHEMAS[table].field(name) for name in columns])
        rows = pa.Table.from_batches(list(self.scan(table, selection, columns)), schema=schema)
        found: pd.DataFrame = rows.unify_dictionaries().to_pandas()
        order = [name for name in ("timestamp",) if name in found.columns]
        return found.sort_values(order, kind="stable", ignore_index=True) if order else found

    def frames(self, selection: Selection | None = None, signals: Collection[str] | None = None) -> pd.DataFrame:
        """Values of signals: a row a service and frame (index service, timestamp), a column a signal.

        Raises FileError where there are no such frames.
        """
        found = self.read(Table.FRAMES, selection, ["timestamp", "service", "signal", "value"])
        if signals is not None:
            found = found[found["signal"].isin(list(signals))]
        if found.empty:
            raise self._no_frames()
        words = {name: found[name].astype(str) for name in ("service", "signal")}
        return found.assign(**words).pivot_table(
            index=["service", "timestamp"],
            columns="signal",
            values="value",
            aggfunc="last",
            dropna=False,
            observed=True,
        )

    def cube(
        self, services: Sequence[str], signals: Sequence[str], start: Moment | None = None, end: Moment | None = None
    ) -> Cube:
        """Values of these signals of these services in every frame of the range, NaN where there is none.

        Raises FileError where there are no such frames.
        """
        selection = Selection(services, start, end)
        columns = ["timestamp", "end", "service", "signal", "value"]
        parts = [_cells(batch, services, signals) for batch in self.scan(Table.FRAMES, selection, columns)]
        parts = [part for part in parts if len(part.ts)]
        if not parts:
            raise self._no_frames()
        ts = np.concatenate([part.ts for part in parts])
        step = parts[0].step
        first, last = int(ts.min()), int(ts.max())
        value = np.full(((last - first) // step + 1, len(services), len(signals)), np.nan)
        for part in parts:
            value[(part.ts - first) // step, part.service, part.signal] = part.value
        return Cube(value, np.arange(first, last + 1, step), tuple(services), tuple(signals), step)

    def services(self, table: Table | str = Table.FRAMES) -> list[str]:
        """Services that have rows in a table, by name."""
        return self._different(Table(table), "service")

    def signals(self) -> list[str]:
        """Signals that any frame has, by name."""
        return self._different(Table.FRAMES, "signal")

    def windows(self) -> list[labels.LabelledWindow]:
        """What people and outcomes say of anomalies (see `pipeline.offline.dataset.labels`), by time."""
        tables = (Table.ANOMALIES, Table.RECOMMENDATIONS, Table.FEEDBACK, Table.OUTCOMES)
        return labels.windows(*(self.read(table) for table in tables))

    def split(self, parts: Mapping[str, float], gap: timedelta = _HOUR) -> dict[str, Span]:
        """The dataset's time in consecutive parts that do not leak: see `pipeline.offline.dataset.times.split`."""
        return times.split(self.span, parts, gap)

    def _different(self, table: Table, column: str) -> list[str]:
        """Words of a column, by name. What frames are of is read once, for both questions that are asked of it."""
        if (table, column) not in self._words:
            columns = ["service", "signal"] if table is Table.FRAMES else [column]
            found: dict[str, set[str]] = {name: set() for name in columns}
            for batch in self.scan(table, columns=columns):
                for name, words in found.items():
                    words.update(text for text in pc.unique(batch.column(name)).to_pylist() if text is not None)
            self._words |= {(table, name): sorted(words) for name, words in found.items()}
        return list(self._words[table, column])

    def _bounded(self, selection: Selection) -> Selection:
        starts = [moment(one) for one in (selection.start, self._start) if one is not None]
        ends = [moment(one) for one in (selection.end, self._end) if one is not None]
        meant = selection.services
        if self._only is not None:
            meant = sorted(self._only if meant is None else self._only & set(meant))
        return replace(selection, services=meant, start=max(starts, default=None), end=min(ends, default=None))

    def _files(self, table: Table, selection: Selection) -> list[DataFile]:
        files = self.manifest.of(table)
        if selection.services is not None and "service" in SCHEMAS[table].names:
            buckets = {bucket_of(service, self.manifest.buckets) for service in selection.services}
            files = [file for file in files if file.bucket in buckets]
        if selection.buckets is not None:
            files = [file for file in files if file.bucket in selection.buckets]
        start = None if selection.start is None else moment(selection.start)
        end = None if selection.end is None else moment(selection.end)
        return [file for file in files if (start is None or file.last >= start) and (end is None or file.first < end)]

    def _no_frames(self) -> FileError:
        return FileError(
            f"{self.folder}: has no frames of these services and signals in this range; `duri dataset describe` shows "
            "what it has"
        )


@dataclass(frozen=True, slots=True)
class _Cells:
    """n values and where they belong; ts int64[n] ms, step ms, service and signal int64[n]."""

    ts: npt.NDArray[np.int64]
    step: int
    service: npt.NDArray[np.int64]
    signal: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]


def _cells(batch: pa.RecordBatch, services: Sequence[str], signals: Sequence[str]) -> _Cells:
    service, signal = (
        _places(batch.column(name), known) for name, known in (("service", services), ("signal", signals))
    )
    there = (service >= 0) & (signal >= 0)
    start, end = (batch.column(name).cast(pa.int64()).to_numpy()[there] for name in ("timestamp", "end"))
    step = int(end[0] - start[0]) if len(start) else 0
    value = batch.column("value").to_numpy(zero_copy_only=False)[there]
    return _Cells(start, step, service[there], signal[there], value)


def _places(column: pa.DictionaryArray, known: Sequence[str]) -> npt.NDArray[np.int64]:
    """Place of each word in `known`, -1 where it has none."""
    place = {word: at for at, word in enumerate(known)}
    of_word = np.array([place.get(word, -1) for word in column.dictionary.to_pylist()], dtype=np.int64)
    found: npt.NDArray[np.int64] = of_word[column.indices.to_numpy()]
    return found


def _filter(table: Table, selection: Selection) -> pc.Expression | None:
    conditions = []
    if selection.start is not None:
        conditions.append(pc.field("timestamp") >= pa.scalar(moment(selection.start), pa.int64()).cast(TIME))
    if selection.end is not None:
        conditions.append(pc.field("timestamp") < pa.scalar(moment(selection.end), pa.int64()).cast(TIME))
    if selection.services is not None and "service" in SCHEMAS[table].names:
        conditions.append(pc.field("service").cast(pa.string()).isin(list(selection.services)))
    whole = None
    for condition in conditions:
        whole = condition if whole is None else whole & condition
    return whole
