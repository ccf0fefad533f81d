"""What each service looked like lately: the reference for "usual", for trends and for observed peaks.

One page a frame interval, one row a service, one column a signal (float32, NaN where there was nothing). Pages form
a ring over `history_s`, so memory is bounded by services, signals and time, and a snapshot is a handful of arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numba
import numpy as np

from models.daily import DailyProfile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from pipeline.advise.frames import Frame

    Float32s = npt.NDArray[np.float32]
    Float64s = npt.NDArray[np.float64]

PEAK_AGE_MS: Final = 7 * 86_400_000
"""A peak is remembered one to two weeks, so that a weekly peak is never forgotten before it comes again."""
MIN_POINTS: Final = 5
"""Fewer values than this say nothing about what is usual, or where it goes."""
_STRAIGHT: Final = 0.8
_SHORT_POINTS: Final = 30
"""Intervals without which the shortest window is too short to tell a line from noise."""
_FIRST_ROWS: Final = 16
_DAYS: Final = 7
"""Days that an hour's usual value remembers."""


class Trend(NamedTuple):
    """Where a signal goes: least-squares slope (unit per second) and how much of the movement it explains (R²)."""

    slope: float
    steadiness: float


class History:
    """Recent values by service, interval and signal; `signals` fixes the columns."""

    def __init__(
        self, signals: Sequence[str], frame_ms: int, slots: int, max_services: int, seasonal: Sequence[str] = ()
    ) -> None:
        self.signals = tuple(signals)
        self._column = {name: column for column, name in enumerate(self.signals)}
        self._seasonal = {name: place for place, name in enumerate(seasonal)}
        self._seasonal_columns = np.array([self.signals.index(name) for name in seasonal], dtype=np.int64)
        self._daily = DailyProfile(len(seasonal), max(1, _DAYS * 3_600_000 // frame_ms))
        self.frame_ms = frame_ms
        self.slots = max(slots, 2 * MIN_POINTS)
        self._max = max_services
        self._rows: dict[str, int] = {}
        self._newest = -1
        self._peaks_since = 0
        self._allocate(_FIRST_ROWS)

    def __len__(self) -> int:
        return len(self._rows)

    def learn(self, end_ms: int, frames: Iterable[Frame]) -> None:
        """Take the frames of the interval that ends then; intervals come in order, gaps are allowed."""
        number = end_ms // self.frame_ms
        self._turn(number)
        page = self._pages[number % self.slots]
        columns = self._column
        healthy: list[int] = []
        for frame in frames:
            row = self._row(frame.service, number)
            if row >= len(page):
                page = self._pages[number % self.slots]
            page[row] = np.nan
            for name, signal in frame.signals.items():
                if signal.value is not None and (column := columns.get(name)) is not None:
                    page[row, column] = signal.value
            self._seen[row] = number
            if not frame.anomalies:
                healthy.append(row)
        self._learn_season(end_ms, page, healthy)
        self._learn_peaks(end_ms, page)

    def usual(self, service: str, before_ms: int) -> dict[str, float]:
        """Median of each signal over the kept intervals that ended at or before then; too few values: absent."""
        values, ends = self._series(service)
        values = values[ends <= before_ms]
        return self._named(
            float(np.median(kept)) if len(kept) >= MIN_POINTS else None
            for kept in (column[~np.isnan(column)] for column in values.T)
        )

    def values(self, service: str, signals: Sequence[str]) -> tuple[Float64s, npt.NDArray[np.int64]]:
        """Values float64[slots, signals], oldest first, NaN where unknown; ends of the intervals int64[slots], ms."""
        values, ends = self._series(service)
        return values[:, [self.signals.index(name) for name in signals]], ends

    def matrix(self, signal: str) -> tuple[Float32s, Float64s, list[str]]:
        """One signal of all services: float32[slots, services], seconds float64[slots], their names."""
        numbers = np.arange(self._newest - self.slots + 1, self._newest + 1, dtype=np.int64)
        names = sorted(self._rows, key=self._rows.__getitem__)
        values: Float32s = np.ascontiguousarray(
            self._pages[:, : len(names), self._column[signal]][numbers % self.slots]
        )
        return values, numbers * self.frame_ms / 1000.0, names

    def seasonless(
        self, service: str, signals: Sequence[str], reference_ms: int
    ) -> tuple[Float64s, npt.NDArray[np.int64]]:
        """As `values`, as if all had been measured at the reference's hour of the day."""
        values, ends = self.values(service, signals)
        row = self._rows.get(service)
        for column, name in enumerate(signals):
            if row is not None and name in self._seasonal:
                values[:, column] /= self._daily.factors(row, self._seasonal[name], ends, reference_ms)
        return values, ends

    def peaks(self, service: str) -> dict[str, float]:
        """Highest value of each signal within the last one to two weeks."""
        row = self._rows.get(service)
        if row is None:
            return {}
        peaks = np.fmax(self._peaks[0, row], self._peaks[1, row])
        return self._named(None if np.isnan(peak) else float(peak) for peak in peaks)

    def trends(self, service: str, signals: Iterable[str]) -> dict[str, Trend]:
        """The trend of these signals: over all that is kept or its last third, whichever is the straighter line.

        Where neither is straight, over the last ninth if that is and goes on: what will run out within minutes began
        minutes ago, and what rose once and stays is no trend.
        """
        values, ends = self._series(service)
        found = {}
        seconds = ends / 1000.0
        for name in signals:
            column = np.ascontiguousarray(values[:, self._column[name]])
            fits = [_fit(seconds[-length:], column[-length:]) for length in (len(column), len(column) // 3)]
            if not any(fit and fit.steadiness >= _STRAIGHT for fit in fits) and len(column) // 9 >= _SHORT_POINTS:
                fits.append(_going_on(seconds[-(len(column) // 9) :], column[-(len(column) // 9) :]))
            best = max((fit for fit in fits if fit), key=lambda fit: fit.steadiness, default=None)
            if best:
                found[name] = best
        return found

    def snapshot(self) -> dict[str, npt.NDArray[np.generic] | bytes]:
        """Copies of the arrays, and the names of their rows (`services`) and columns (`signals`) as MessagePack."""
        rows = len(self._rows)
        return {
            "services": msgspec.msgpack.encode(sorted(self._rows, key=self._rows.__getitem__)),
            "signals": msgspec.msgpack.encode(self.signals),
            "pages": self._pages[:, :rows].copy(),
            "peaks": self._peaks[:, :rows].copy(),
            "seen": self._seen[:rows].copy(),
            "seasonal": msgspec.msgpack.encode(list(self._seasonal)),
            **self._daily.snapshot(rows),
            "times": np.array([self.frame_ms, self._newest, self._peaks_since], dtype=np.int64),
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any] | bytes]) -> None:
        """Go on from a snapshot. Columns are matched by name, so that the catalogue may have changed meanwhile.

        Where the frame interval or the length differ, the pages begin anew: their rows would mean other times.
        """
        services = msgspec.msgpack.decode(bytes(state["services"]), type=list[str])
        signals = msgspec.msgpack.decode(bytes(state["signals"]), type=list[str])
        pages, peaks = np.asarray(state["pages"]), np.asarray(state["peaks"])
        frame_ms, newest, peaks_since = (int(value) for value in np.asarray(state["times"]))
        self._rows = {service: row for row, service in enumerate(services)}
        self._allocate(max(len(services), _FIRST_ROWS))
        self._peaks_since = peaks_since
        rows = len(services)
        seasonal = msgspec.msgpack.decode(bytes(state["seasonal"]), type=list[str])
        self._daily.restore(
            state, {ours: seasonal.index(name) for name, ours in self._seasonal.items() if name in seasonal}
        )
        self._daily.grow(len(self._seen))
        same = frame_ms == self.frame_ms and len(pages) == self.slots
        self._newest = newest if same else -1
        if same:
            self._seen[:rows] = np.asarray(state["seen"])
        for column, name in enumerate(signals):
            if name in self.signals:
                here = self.signals.index(name)
                self._peaks[:, :rows, here] = peaks[:, :, column]
                if same:
                    self._pages[:, :rows, here] = pages[:, :, column]

    def _allocate(self, rows: int) -> None:
        self._pages = np.full((self.slots, rows, len(self.signals)), np.nan, dtype=np.float32)
        self._peaks = np.full((2, rows, len(self.signals)), np.nan, dtype=np.float32)
        self._seen = np.full(rows, -1, dtype=np.int64)
        self._daily.grow(rows)

    def _row(self, service: str, number: int) -> int:
        row = self._rows.get(service)
        if row is None:
            row = self._free(number)
            self._rows[service] = row
        return row

    def _free(self, number: int) -> int:
        """A row for a new service: the next one, or that of the service that was not seen for longest."""
        row = len(self._rows)
        if row >= self._max:
            row = int(np.argmin(self._seen[: self._max]))
            self._rows = {service: at for service, at in self._rows.items() if at != row}
            self._pages[:, row] = np.nan
            self._peaks[:, row] = np.nan
            self._daily.evict(row)
        elif row >= len(self._seen):
            old = self._pages, self._peaks, self._seen
            self._allocate(min(2 * row, self._max))
            self._pages[:, :row], self._peaks[:, :row], self._seen[:row] = old
        self._seen[row] = number
        return row

    def _turn(self, number: int) -> None:
        """Clear the pages between the newest interval and this one."""
        for skipped in range(max(self._newest + 1, number - self.slots + 1), number + 1):
            self._pages[skipped % self.slots] = np.nan
        self._newest = number

    def _learn_season(self, end_ms: int, page: Float32s, rows: list[int]) -> None:
        if rows and self._seasonal:
            chosen = np.array(rows, dtype=np.int64)
            self._daily.learn(end_ms - self.frame_ms // 2, chosen, page[chosen][:, self._seasonal_columns])

    def _learn_peaks(self, end_ms: int, page: Float32s) -> None:
        if end_ms - self._peaks_since > PEAK_AGE_MS:
            self._peaks[1] = self._peaks[0]
            self._peaks[0] = np.nan
            self._peaks_since = end_ms
        np.fmax(self._peaks[0], page, out=self._peaks[0])

    def _series(self, service: str) -> tuple[Float64s, npt.NDArray[np.int64]]:
        """Values float64[slots, signals], oldest first, and the ends of their intervals int64[slots] in ms."""
        numbers = np.arange(self._newest - self.slots + 1, self._newest + 1, dtype=np.int64)
        row = self._rows.get(service)
        if row is None:
            return np.full((self.slots, len(self.signals)), np.nan), numbers * self.frame_ms
        return self._pages[numbers % self.slots, row].astype(np.float64), numbers * self.frame_ms

    def _named(self, values: Iterable[float | None]) -> dict[str, float]:
        # float32 holds seven digits; the rest would be noise in what people read.
        return {
            name: float(f"{value:.7g}") for name, value in zip(self.signals, values, strict=True) if value is not None
        }


def _going_on(seconds: Float64s, values: Float64s) -> Trend | None:
    """The trend, where its last quarter moves at half of its pace or more."""
    newest = slice(-(len(values) // 4), None)
    whole, end = _fit(seconds, values), _fit(seconds[newest], values[newest])
    if whole is None or end is None or end.slope * whole.slope < 0.5 * whole.slope**2:
        return None
    return whole


def _fit(seconds: Float64s, values: Float64s) -> Trend | None:
    slope, steadiness = _line(seconds, values)
    return None if np.isnan(slope) else Trend(slope, steadiness)


@numba.njit(cache=True, nogil=True)
def _line(seconds: Float64s, values: Float64s) -> tuple[float, float]:
    """Slope and R² of the least-squares line; NaN where too few values are known."""
    count, seconds_sum, values_sum = 0, 0.0, 0.0
    for at in range(len(values)):
        if not np.isnan(values[at]):
            count += 1
            seconds_sum += seconds[at] - seconds[0]
            values_sum += values[at]
    if count < MIN_POINTS:
        return np.nan, np.nan
    middle, mean = seconds_sum / count, values_sum / count
    spread, total, both = 0.0, 0.0, 0.0
    for at in range(len(values)):
        if not np.isnan(values[at]):
            away, moved = seconds[at] - seconds[0] - middle, values[at] - mean
            spread += away * away
            total += moved * moved
            both += away * moved
    if total <= 0.0:
        return 0.0, 0.0
    return both / spread, min(1.0, both / spread * both / total)
