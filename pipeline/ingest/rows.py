"""Collects samples of counts that may say when they began, and what that tells besides."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from pipeline.errors import DecodeError
from pipeline.ingest.gathering import Gathering
from pipeline.series import STALE, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.ingest.points import Context

CUMULATIVE: Final = (Kind.COUNTER, Kind.BUCKET)


class Column(NamedTuple):
    """Series that a point gives: one, or one for each text of a label; `values` has a value for each."""

    suffix: str
    """What is added to the metric's name."""
    kind: Kind
    values: Sequence[float]
    label: str = ""
    texts: Sequence[str] = ()


class Named(NamedTuple):
    """What a point's series are called, and their unit, None where the name tells."""

    name: str
    labels: dict[str, str]
    unit: str | None


def ended(columns: Sequence[Column]) -> list[Column]:
    """The same series, whose end is all that is said of them."""
    return [column._replace(values=[STALE] * len(column.values)) for column in columns]


class Rows(Gathering):
    """Samples in order.

    A cumulative count that says when it began is also 0 at that time: so a reset is seen even where the new count has
    already passed the old one, and what a new process counts first is not lost. Where that start is known already the
    additional 0 is a late sample, and detect drops it. No rate is taken across more than `detect.gap_s`, so a start
    that is further before its sample tells nothing, and is not said: most points have such a one.
    """

    def __init__(self, context: Context, *, learned: bool = False) -> None:
        """`learned`: the scanner learns the series, so that they need not be remembered by their labels."""
        super().__init__(context)
        self._index = context.catalog.place if learned else context.catalog.intern
        self._key = context.key
        self._window = context.window
        self._reset_ms = context.catalog.limits.reset_ms

    def check_time(self, ts: int) -> None:
        """Raises DecodeError for a time (ms) that no sample may have."""
        if ts <= 0:
            raise DecodeError("a point without a time after 1970", reason="timestamp")
        self._window.check(ts)

    def add_point(self, named: Named, columns: Sequence[Column], ts: int, start: int) -> Sequence[int]:
        """Samples at `ts`, ms, that began at `start`, ms (0: nobody says); their series. Raises DecodeError."""
        starts = [self.begun(start, ts, column.kind) for column in columns]
        if len(columns) == 1 and not columns[0].label:
            (column,), name = columns, named.name + columns[0].suffix
            one = (self._index(name, named.labels, self._key, column.kind, named.unit),)
            self.add_all(one, ts, column.values, starts[0])
            return one
        self._limits.check_series(sum([len(column.values) for column in columns]))
        series: list[int] = self._catalog.intern_all(named, columns, self._key).tolist()
        if len(set(starts)) == 1:
            self.add_all(series, ts, [*chain.from_iterable(column.values for column in columns)], starts[0])
            return series
        row = 0
        for column, begun in zip(columns, starts, strict=True):
            self.add_all(series[row : row + len(column.values)], ts, column.values, begun)
            row += len(column.values)
        return series

    def begun(self, start: int, ts: int, kind: Kind) -> int:
        """When a count of that kind began, ms, that has a sample at `ts`; 0 where it is none, or that tells nothing."""
        if kind in CUMULATIVE and 0 < start < ts <= start + self._reset_ms and start >= self._window.earliest:
            return start
        return 0

    def add_all(self, series: Sequence[int], ts: int, values: Sequence[float], start: int) -> None:
        """Samples of several series at `ts`, ms, each after one of 0 at `start`, ms, if that is not 0."""
        if len(series) == 1:
            if start:
                self.add(series[0], start, 0.0)
            self.add(series[0], ts, values[0])
            return
        n = len(series)
        if start:
            index, rows = [0] * (2 * n), [0.0] * (2 * n)
            index[::2] = index[1::2] = list(series)
            rows[1::2] = values
            self._series.extend(index)
            self._ts.extend([start, ts] * n)
            self._value.extend(rows)
        else:
            self._series.extend(series)
            self._ts.extend([ts] * n)
            self._value.extend(values)
