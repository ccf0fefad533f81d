"""Frames on their way into a dataset: records of `duri.frames` in, rows of the tables `frames` and `settings` out."""

from __future__ import annotations

from array import array
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from pipeline.offline.dataset.columns import null_where_nan, words
from pipeline.offline.dataset.tables import SCHEMAS, TIME, Table, bucket_of
from pipeline.offline.dataset.writer import Rows
from pipeline.records import Frame
from pipeline.stage import header

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pipeline.offline.dataset.columns import Window
    from pipeline.stage import InputRecord

_FRAME: Final = Frame.event_type().encode()
_MOST_ROWS: Final = 500_000
_NAN: Final = float("nan")

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class _Signal(msgspec.Struct, gc=False):
    value: float | None
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    score: float = 0.0


class _Frame(msgspec.Struct):
    service: str
    start: Moment
    end: Moment
    signals: dict[str, _Signal]
    settings: dict[str, float]
    system: str = "default"


_Part = tuple[Table, "npt.NDArray[np.int64]", list[list[str]], list[str], "array[int]", "list[array[float]]"]
"""Table, rows by frame, further words by system, names, the rows' numbers of names, and their columns of numbers."""

_decode = msgspec.json.Decoder(_Frame).decode


class _Names:
    """Numbers for texts."""

    def __init__(self) -> None:
        self.number: dict[str, int] = {}

    def of(self, text: str) -> int:
        number = self.number.get(text)
        if number is None:
            number = self.number[text] = len(self.number)
        return number


class _Frames(NamedTuple):
    """Columns by frame, int64[frames]: times in ms, numbers of names, and how many rows each table has of it."""

    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    service: npt.NDArray[np.int64]
    system: npt.NDArray[np.int64]
    signals: npt.NDArray[np.int64]
    settings: npt.NDArray[np.int64]


class FrameRows:
    """Collects frames; a full one must be taken before more is added."""

    def __init__(self, buckets: int) -> None:
        self._buckets = buckets
        self._clear()

    def _clear(self) -> None:
        self._services, self._systems, self._signals, self._names = _Names(), _Names(), _Names(), _Names()
        self._frames: list[array[int]] = [array("q") for _ in _Frames._fields]
        self._signal = array("q")
        self._cells: list[array[float]] = [array("d") for _ in range(5)]
        self._setting: array[int] = array("q")
        self._setting_value: array[float] = array("d")
        self.rows = 0

    @property
    def full(self) -> bool:
        """Whether the rows should be taken now: memory has a bound."""
        return self.rows >= _MOST_ROWS

    def add(self, record: InputRecord, window: Window) -> int | None:
        """Take a frame that starts within the window; when it starts (ms), None where the record is no frame.

        Raises ValueError where it cannot be read.
        """
        if header(record, "ce_type") != _FRAME:
            return None
        frame = _decode(record.value or b"")
        start = round(frame.start.timestamp() * 1000)
        if window.has(start):
            self._take_in(frame, start)
        return start

    def _take_in(self, frame: _Frame, start: int) -> None:
        end = round(frame.end.timestamp() * 1000)
        number_of = self._signals.of
        columns = self._cells
        for name, signal in frame.signals.items():
            self._signal.append(number_of(name))
            for column, cell in zip(columns, msgspec.structs.astuple(signal), strict=True):
                column.append(_NAN if cell is None else cell)
        for name, value in frame.settings.items():
            self._setting.append(self._names.of(name))
            self._setting_value.append(value)
        here = (start, end, self._services.of(frame.service), self._systems.of(frame.system))
        for counter, number in zip(self._frames, (*here, len(frame.signals), len(frame.settings)), strict=True):
            counter.append(number)
        self.rows += len(frame.signals) + len(frame.settings)

    def take(self) -> Iterator[Rows]:
        """The rows of both tables, which are forgotten here."""
        if not self.rows:
            return
        frames = _Frames(*(np.frombuffer(column, np.int64) for column in self._frames))
        services, systems = list(self._services.number), list(self._systems.number)
        tables: tuple[_Part, ...] = (
            (Table.FRAMES, frames.signals, [systems], list(self._signals.number), self._signal, self._cells),
            (Table.SETTINGS, frames.settings, [], list(self._names.number), self._setting, [self._setting_value]),
        )
        self._clear()
        for table, counts, more, names, numbers, cells in tables:
            if not len(numbers):
                continue
            which = np.repeat(np.arange(len(counts)), counts)
            service, name = frames.service[which], np.frombuffer(numbers, np.int64)
            columns = [
                pa.array(frames.start[which]).cast(TIME),
                pa.array(frames.end[which]).cast(TIME),
                words(services, service),
                *(words(texts, frames.system[which]) for texts in more),
                words(names, name),
                *(null_where_nan(np.frombuffer(cell, np.float64)) for cell in cells),
            ]
            bucket = np.array([bucket_of(one, self._buckets) for one in services], dtype=np.int32)
            rank = _places(services)[service] * len(names) + _places(names)[name]
            yield Rows(table, pa.table(columns, schema=SCHEMAS[table]), bucket[service], rank)


def _places(texts: list[str]) -> npt.NDArray[np.int64]:
    places = np.empty(len(texts), dtype=np.int64)
    places[sorted(range(len(texts)), key=texts.__getitem__)] = np.arange(len(texts))
    return places
