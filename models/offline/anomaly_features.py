"""Features of an anomaly, from what is known when it opens: the one code that ranks anomalies, in training and after.

What it is: service, signal, shape and direction (as numbers of hash buckets), severity and score, who flags it, how far
it is from what was expected. When it is: time of day, day of the week. What came before: how often its service and
signal were in trouble in the last day and week, how long ago the last time was, how many a day ago within half an hour,
and how many others of its service opened within ten minutes before.
"""

from __future__ import annotations

import math
import zlib
from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import numpy.typing as npt

VERSION: Final = 1
"""Of the formulas; a model trained on another version is not used."""
DETECTORS: Final = ("static", "learned", "regression", "absent", "multivariate", "trained", "burn_rate")
CATEGORIES: Final = ("service", "signal", "shape", "direction")
NAMES: Final = (
    *CATEGORIES,
    "severity",
    "score",
    "away",
    "beyond",
    "minute_of_day",
    "day_of_week",
    "same_day",
    "same_week",
    "since_same_h",
    "same_time_yesterday",
    "others_now",
    *DETECTORS,
)
_BUCKETS: Final = 128
_SEVERITY: Final = {"info": 0.0, "warning": 1.0, "critical": 2.0}
_MINUTE: Final = 60_000
_DAY: Final = 1440 * _MINUTE
_KEPT: Final = 7 * _DAY


class AnomalyFacts(NamedTuple):
    """What an anomaly's opening record says; at in ms, NaN where a number is missing."""

    at: int
    service: str
    signal: str
    shape: str
    direction: str
    severity: str
    score: float
    observed: float
    expected: float
    lower: float
    upper: float
    detectors: Collection[str]


class AnomalyFeatures:
    """Takes anomalies in the order in which they open; remembers a week of when each service and signal had one."""

    def __init__(self) -> None:
        self._same: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._service: dict[str, list[int]] = defaultdict(list)

    def advance(self, one: AnomalyFacts) -> npt.NDArray[np.float64]:
        """Features float64[len(NAMES)] of the next anomaly; what it is itself is remembered only then."""
        same, others = self._same[one.service, one.signal], self._service[one.service]
        for times in (same, others):
            del times[: bisect_left(times, one.at - _KEPT)]
        row = np.array(
            [
                *(_bucket(text) for text in (one.service, one.signal, one.shape, one.direction)),
                _SEVERITY.get(one.severity, math.nan),
                one.score,
                *_distance(one),
                one.at // _MINUTE % 1440,
                one.at // _DAY % 7,
                len(same) - bisect_left(same, one.at - _DAY),
                len(same),
                (one.at - same[-1]) / 3_600_000 if same else math.nan,
                _between(same, one.at - _DAY - 30 * _MINUTE, one.at - _DAY + 30 * _MINUTE),
                len(others) - bisect_left(others, one.at - 10 * _MINUTE),
                *(float(name in one.detectors) for name in DETECTORS),
            ],
            dtype=np.float64,
        )
        same.append(one.at)
        others.append(one.at)
        return row

    def snapshot(self) -> list[tuple[str, str, list[int]]]:
        """Service, signal, and when they had one in the week before the newest; a copy."""
        newest = max((times[-1] for times in self._same.values() if times), default=0)
        kept = ((key, [at for at in times if at >= newest - _KEPT]) for key, times in sorted(self._same.items()))
        return [(*key, times) for key, times in kept if times]

    def restore(self, state: Iterable[tuple[str, str, list[int]]]) -> None:
        """Become what gave this snapshot."""
        self._same.clear()
        self._service.clear()
        for service, signal, times in state:
            self._same[service, signal] = list(times)
            self._service[service] = sorted([*self._service[service], *times])


def of_anomalies(anomalies: Iterable[AnomalyFacts]) -> npt.NDArray[np.float64]:
    """Features float64[n, len(NAMES)] of anomalies in the order in which they open."""
    running = AnomalyFeatures()
    rows = [running.advance(one) for one in anomalies]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(NAMES))


def _bucket(text: str) -> float:
    return float(zlib.crc32(text.encode()) % _BUCKETS)


def _distance(one: AnomalyFacts) -> tuple[float, float]:
    """Logarithms of the change against what was expected, and of the distance from it in half widths of the band."""
    away = abs(one.observed - one.expected)
    half = (one.upper - one.lower) / 2
    relative = math.log1p(away / abs(one.expected)) if one.expected else math.nan
    return relative, math.log1p(away / half) if half > 0 else math.nan


def _between(times: list[int], first: int, after: int) -> int:
    return bisect_left(times, after) - bisect_left(times, first)
