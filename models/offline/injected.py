"""Anomalies put into real signals, of stated kind and size: for evaluation where nobody has labelled anything.

A spike, a shift and a trend leave the usual range of a signal. What is `apart` stays in it: for so long the signals
take the values that they had at another time, while the rest of their service stays as it is. That shows in several
signals together only.

What looks back sees an anomaly after it is over: for so long, the aftermath, an alarm says nothing about a model, and
the next anomaly does not begin. What looks back at another day is told of it as it was before anything was put in: so
many anomalies in a day would leave none to look back at. Real trouble ends when people say so, has no aftermath, and is
there on the next day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

KINDS: Final = ("spike", "apart", "shift", "trend")
SIZES: Final = (2.0, 4.0, 8.0)
"""In mean absolute deviations of the signal over the period; of what is apart, the other time is that of some tries
which is nearest to so far away.
"""
AFTERMATH_MS: Final = 70 * 60_000
"""The longest look back at an anomaly that is not of another day: a band's value an hour ago, in its slot of ten
minutes (`models.offline.band_features`).
"""
_TRIES: Final = 20
_FRAMES: Final = {"spike": (1, 4), "apart": (15, 60), "shift": (15, 60), "trend": (30, 90)}
_SHARE_OF_SIGNALS: Final = 0.25


class Anomaly(NamedTuple):
    """Frames `first` up to, not including, `after` of a service; signals are columns; size in deviations."""

    service: int
    first: int
    after: int
    signals: tuple[int, ...]
    kind: str
    size: float


class Injected(NamedTuple):
    """values float64[t, services, signals] with the anomalies; labels bool[t, services]: where they are."""

    values: npt.NDArray[np.float64]
    labels: npt.NDArray[np.bool_]
    anomalies: tuple[Anomaly, ...]


def inject(values: npt.NDArray[np.float64], per_service: int, rng: np.random.Generator, spacing: int = 0) -> Injected:
    """Put so many anomalies into each service, of all kinds and sizes in turn, in a quarter of its signals at once.

    values float64[t, services, signals], NaN where there is none. The period is divided evenly among the anomalies of a
    service; each lies somewhere in the second half of its part, so that they stay apart. Where so many would have
    fewer than `spacing` frames between them, there are fewer, at least one.
    """
    changed, labels = values.copy(), np.zeros(values.shape[:2], dtype=bool)
    per_service = min(per_service, max(len(values) // max(2 * spacing, 1), 1))
    part = len(values) // max(per_service, 1)
    anomalies = []
    for service in range(values.shape[1]):
        scale = _deviations(values[:, service])
        live = np.flatnonzero(scale > 0)
        for number in range(per_service if len(live) else 0):
            # Their numbers have no common divisor: a few in a row are of all kinds and of all sizes.
            kind, size = KINDS[number % len(KINDS)], SIZES[number % len(SIZES)]
            low, high = _FRAMES[kind]
            length = min(int(rng.integers(low, high)), max(part // 2, 1))
            begin = number * part + part // 2 + int(rng.integers(0, max(part // 2 - length, 1)))
            count = max(1, round(len(live) * _SHARE_OF_SIGNALS))
            signals = rng.choice(live, size=count, replace=False)
            where = slice(begin, begin + length)
            if kind == "apart":
                changed[where, service, signals] = _another_time(values[:, service, signals], where, size, rng)
            else:
                shape = np.linspace(0.2, 1.0, length) if kind == "trend" else np.ones(length)
                sign = rng.choice((-1.0, 1.0), size=count)
                changed[where, service, signals] += size * shape[:, None] * (scale[signals] * sign)
            labels[begin : begin + length, service] = True
            anomalies.append(Anomaly(service, begin, begin + length, tuple(sorted(signals.tolist())), kind, size))
    return Injected(changed, labels, tuple(anomalies))


def aftermath(labels: npt.NDArray[np.bool_], frames: int) -> npt.NDArray[np.bool_]:
    """Frames within so many after labelled ones, themselves not labelled, bool[t, …] as the labels."""
    found = np.zeros_like(labels)
    for later in range(1, min(frames + 1, len(labels))):
        found[later:] |= labels[:-later]
    return found & ~labels


def _another_time(
    values: npt.NDArray[np.float64], here: slice, size: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Values float64[length, signals] of a time at which these signals are about `size` deviations from here."""
    length, scale = here.stop - here.start, np.maximum(_deviations(values), 1e-12)
    starts = rng.integers(0, max(len(values) - length, 1), size=_TRIES)
    # Where there is no value there is no distance.
    apart = [np.nan_to_num(np.abs(values[at : at + length] - values[here]) / scale) for at in starts.tolist()]
    at = int(starts[np.argmin([abs(one.mean() - size) for one in apart])])
    return values[at : at + length]


def _deviations(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean absolute deviation of each signal, float64[signals]; 0 where there is none."""
    there = np.isfinite(values)
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, values, 0.0).sum(axis=0) / count
    found: npt.NDArray[np.float64] = np.where(there, np.abs(values - mean), 0.0).sum(axis=0) / count
    return found
