"""What a signal's expected band is predicted from: the calendar and its own past, ten minutes at a time.

The one code that training, evaluation and live scoring use. Event time is cut into slots of ten minutes (of a frame,
where frames are longer). All that a band is predicted from is known when its slot begins, so a band holds for its slot
and is predicted once for it.

All in the signal's own running scale (mean m and mean absolute deviation d of the frames before the slot, exponentially
weighted over about half a week), so one model serves signals of any size: what is predicted is z = (x - m) / s with
s = 1.5 d + 0.001 |m| + tiny. Calendar: sine and cosine of the time of day and of the week, in UTC, in the middle of the
slot. Past, each in that scale, and NaN where it is not known: the mean of the slot before, of the slot an hour ago, and
of the hour up to now; and what it was a day and a week ago, between the means of the two hours around that time. Means
by slot and by hour are what is kept of the past: about 750 bytes for each signal of a service.

A signal has a band once it has had values for a day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

VERSION: Final = 2
"""Of the formulas above; a model trained on another version is not used."""
NAMES: Final = (
    *("day_sine", "day_cosine", "week_sine", "week_cosine"),
    *("ten_minutes_ago", "an_hour_ago", "a_day_ago", "a_week_ago", "mean_of_the_hour", "signal"),
)
_MINUTE_MS: Final = 60_000
SLOT_MS: Final = 10 * _MINUTE_MS
_HOUR_MS: Final = 60 * _MINUTE_MS
_DAY_MS: Final = 24 * _HOUR_MS
_WEEK_MS: Final = 7 * _DAY_MS
_MEMORY_MS: Final = _WEEK_MS / 2
_SLOTS: Final = 6
"""Kept of the past: an hour of slots …"""
_HOURS: Final = 170
"""… and a week of hours, with those around its end."""
_TINY: Final = 1e-9
_SUFFIX: Final = ":band"


def names_of(signals: Sequence[str]) -> tuple[str, ...]:
    """Names by which a model over these signals says what it expects, in their order."""
    return tuple(f"{signal}{_SUFFIX}" for signal in signals)


def signals_of(names: Sequence[str]) -> tuple[str, ...]:
    """The signals of these names, in their order; `names_of` gives the names back."""
    return tuple(name.removesuffix(_SUFFIX) for name in names)


class _Means:
    """Means of stretches of event time, the last few of them: a ring for every cell."""

    def __init__(self, shape: tuple[int, int], width_ms: int, kept: int) -> None:
        self.width_ms = width_ms
        self.now = -1
        """Number of the stretch that goes on, by event time; -1 before the first frame."""
        self.past = np.full((kept, *shape), np.nan, dtype=np.float32)
        self.sum, self.count = np.zeros(shape), np.zeros(shape)

    def begin(self, now: int) -> None:
        """The stretch of this number goes on from here."""
        kept = len(self.past)
        if self.now >= 0:
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                self.past[self.now % kept] = np.where(self.count > 0, self.sum / self.count, np.nan)
            self.past[[gap % kept for gap in range(self.now + 1, min(now, self.now + 1 + kept))]] = np.nan
        self.sum[:], self.count[:] = 0.0, 0.0
        self.now = now

    def add(self, values: Floats) -> None:
        """Values of the stretch that goes on, NaN where there is none."""
        there = np.isfinite(values)
        self.sum += np.where(there, values, 0.0)
        self.count += there

    def of(self, number: int) -> Floats:
        """Mean of a stretch before now, float64[services, signals]; NaN where nothing was."""
        known = self.now - len(self.past) <= number < self.now
        return np.asarray(self.past[number % len(self.past)] if known else np.full(self.sum.shape, np.nan), np.float64)

    def around(self, at: float) -> Floats:
        """Between the two stretches whose middles are around this time (in stretches), or what one of them has."""
        first = int(np.floor(at))
        share = at - first
        before, after = self.of(first), self.of(first + 1)
        between = before + share * (after - before) if share else before
        nearer, other = (before, after) if share < 0.5 else (after, before)
        return np.where(np.isfinite(between), between, np.where(np.isfinite(nearer), nearer, other))


class BandFeatures:
    """Running state for so many services (rows) and signals (columns)."""

    def __init__(self, services: int, signals: int) -> None:
        self._shape = (services, signals)
        for name in _CELLS:
            setattr(self, f"_{name}", np.zeros(self._shape))
        self._step_ms = 0
        self._slots, self._hours = self._new_means(self._shape)

    _mean: Floats
    _deviation: Floats
    _count: Floats
    """Values so far."""
    _since: Floats
    """Start of the first frame with a value, ms; 0 before."""
    _level: Floats
    """m as it was when the slot began …"""
    _scale: Floats
    """… and s; 0 where there is no band."""

    def _new_means(self, shape: tuple[int, int]) -> tuple[_Means, _Means]:
        return (
            _Means(shape, max(SLOT_MS, self._step_ms), _SLOTS),
            _Means(shape, max(_HOUR_MS, self._step_ms), _HOURS),
        )

    @property
    def services(self) -> int:
        """How many services there is room for."""
        return self._shape[0]

    @property
    def slot(self) -> int:
        """Number of the slot that goes on; what `table` gives changes with it only. -1 before the first frame."""
        return self._slots.now

    def grow(self, services: int) -> None:
        """Make room for services below `services`; the new ones are as new."""
        more = services - self._shape[0]
        if more <= 0:
            return
        self._shape = (services, self._shape[1])
        for name in _CELLS:
            setattr(self, f"_{name}", _wider(getattr(self, f"_{name}"), more, 0, 0.0))
        for means in (self._slots, self._hours):
            means.past = _wider(means.past, more, 1, np.nan)
            means.sum, means.count = (_wider(one, more, 0, 0.0) for one in (means.sum, means.count))

    def evict(self, services: npt.NDArray[np.int32]) -> None:
        """These services are gone: their rows are as new."""
        for name in _CELLS:
            getattr(self, f"_{name}")[services] = 0.0
        for means in (self._slots, self._hours):
            means.past[:, services] = np.nan
            means.sum[services], means.count[services] = 0.0, 0.0

    def advance(self, values: Floats, start: int, step_ms: int, usual: Floats | None = None) -> Floats:
        """What is judged of the frame [start, start + step_ms) ms, which is then learned: z float64[services, signals].

        NaN where there is no value or no band. values float64[services, signals]; frames come in order, some may be
        left out. usual float64[services, signals]: what a day and a week later is told of this frame, where anomalies
        were put into its values; None: the values. Raises ValueError for another shape, or another step than before.
        """
        if values.shape != self._shape:
            raise ValueError(f"values of shape {values.shape} are not those of {self._shape} services and signals")
        self._begin(start, step_ms)
        with np.errstate(invalid="ignore", divide="ignore"):
            away = np.where(self._scale > 0, (values - self._level) / self._scale, np.nan)
        self._learn(values, start)
        self._hours.add(values if usual is None else usual)
        return np.where(np.isfinite(away), away, np.nan)

    def _begin(self, start: int, step_ms: int) -> None:
        if not self._step_ms:
            self._step_ms = step_ms
            self._slots, self._hours = self._new_means(self._shape)
        if step_ms != self._step_ms:
            raise ValueError(f"frames of {step_ms} ms, they were {self._step_ms} ms before")
        if start // self._hours.width_ms != self._hours.now:
            self._hours.begin(start // self._hours.width_ms)
        if start // self._slots.width_ms != self._slots.now:
            self._slots.begin(start // self._slots.width_ms)
            ready = (self._count > 0) & (start - self._since >= _DAY_MS)
            self._level = np.where(ready, self._mean, 0.0)
            scale = 1.5 * self._deviation + 1e-3 * np.abs(self._mean) + _TINY
            self._scale = np.where(ready, scale, 0.0)

    def _learn(self, values: Floats, start: int) -> None:
        there = np.isfinite(values)
        value = np.where(there, values, 0.0)
        self._slots.add(values)
        first = there & (self._count == 0)
        self._since = np.where(first, start, self._since)
        self._count += there
        rate = np.where(there, np.maximum(1 / np.maximum(self._count, 1), self._step_ms / _MEMORY_MS), 0.0)
        away = np.where(there, value - self._mean, 0.0)
        self._deviation += rate * (np.where(first, 0.0, np.abs(away)) - self._deviation)
        self._mean += rate * away

    def table(self) -> Floats:
        """From what the bands of this slot are predicted, float64[services, signals, len(NAMES)]; NaN without a band.

        `signal` is the column's number: whoever trains and whoever predicts has the signals in the same order.
        """
        found = np.full((*self._shape, len(NAMES)), np.nan)
        now, width = self._slots.now, self._slots.width_ms
        if now < 0:
            return found
        middle = (now + 0.5) * width
        day, week = 2 * np.pi * (middle % _DAY_MS) / _DAY_MS, 2 * np.pi * (middle % _WEEK_MS) / _WEEK_MS
        found[:, :, :4] = np.sin(day), np.cos(day), np.sin(week), np.cos(week)
        hour = self._hours.width_ms
        hours_ago = [self._slots.of(now - ago) for ago in range(1, max(_HOUR_MS // width, 1) + 1)]
        past = [
            hours_ago[0],
            hours_ago[-1],
            *(self._hours.around((middle - ago) / hour - 0.5) for ago in (_DAY_MS, _WEEK_MS)),
            _mean_known(np.stack(hours_ago)),
        ]
        with np.errstate(invalid="ignore", divide="ignore"):
            for column, what in enumerate(past, start=4):
                found[:, :, column] = (what - self._level) / self._scale
        found[:, :, 9] = np.arange(self._shape[1])
        found[self._scale == 0] = np.nan
        return found

    def in_units(self, ends: Floats) -> Floats:
        """Ends of bands from the signals' own scale, float64[services, signals, n], in their units."""
        return ends * self._scale[..., None] + np.where(self._scale > 0, self._level, np.nan)[..., None]

    @staticmethod
    def keeps(state: Mapping[str, npt.NDArray[np.generic]]) -> bool:
        """Whether a snapshot is of this version of the features: else one begins anew."""
        return set(state) == {*_CELLS, *_RINGS, "times"} and int(np.asarray(state["times"])[0]) == VERSION

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        found: dict[str, npt.NDArray[np.generic]] = {name: getattr(self, f"_{name}").copy() for name in _CELLS}
        for which, means in (("slots", self._slots), ("hours", self._hours)):
            found |= {f"{which}_{name}": getattr(means, name).copy() for name in ("past", "sum", "count")}
        return {**found, "times": np.array([VERSION, self._step_ms, self._slots.now, self._hours.now])}

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit."""
        if not self.keeps(state) or state["mean"].shape != self._shape:
            raise ValueError("the snapshot is of other services, signals or another version of the features")
        _, step_ms, slot, hour = np.asarray(state["times"]).tolist()
        for name in _CELLS:
            setattr(self, f"_{name}", np.array(state[name]))
        self._step_ms = step_ms
        self._slots, self._hours = self._new_means(self._shape)
        self._slots.now, self._hours.now = slot, hour
        for which, means in (("slots", self._slots), ("hours", self._hours)):
            for name in ("past", "sum", "count"):
                setattr(means, name, np.array(state[f"{which}_{name}"]))


_CELLS: Final = ("mean", "deviation", "count", "since", "level", "scale")
_RINGS: Final = tuple(f"{which}_{name}" for which in ("slots", "hours") for name in ("past", "sum", "count"))


def _wider(array: npt.NDArray[Any], more: int, axis: int, fill: float) -> npt.NDArray[Any]:
    shape = list(array.shape)
    shape[axis] = more
    return np.concatenate([array, np.full(shape, fill, dtype=array.dtype)], axis=axis)


def _mean_known(stack: Floats) -> Floats:
    """Mean over the first axis of what is known; NaN where nothing is."""
    there = np.isfinite(stack)
    with np.errstate(invalid="ignore"):
        found: Floats = np.where(there, stack, 0.0).sum(axis=0) / there.sum(axis=0)
    return found
