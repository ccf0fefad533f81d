"""Policy: turn novelty and magnitude into one decision, with hysteresis in time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from models.online.compiling import compiled
from models.online.routine import apart_bar, drift_bar

if TYPE_CHECKING:
    from models.online.magnitude import Far
    from models.online.novelty import Evidence
    from models.online.stillness import Quiet
    from models.online.tuning import Tuning

FIELDS: Final[list[Any]] = [
    ("usual", "f8"),  # usual novelty
    ("bustle", "f4"),  # usual strength of evidence
    ("calm", "f4"),  # s of weak evidence while in alarm
    ("alarm", "f4"),  # 1 while in alarm
]

_BUSTLE: Final = 1.5  # times the usual strength are weak: a sawtooth is always a little off
_BUSTLE_UNITS: Final = 200.0
_MOST_WEAK: Final = 0.95  # of the bar is never weak
_MOST: Final = 1e6


class Parts(NamedTuple):
    """Evidence of each kind as a part of its bar: 1 raises an alarm alone."""

    novel: float
    spike: float
    drift: float
    apart: float
    still: float
    away: float


@compiled
def weigh(row: Any, tuning: Tuning, evidence: Evidence, far: Far, bar: float, quiet: Quiet) -> Parts:
    """Measure evidence against the series' bars, `bar` that of a single sample; stillness comes as a part already."""
    return Parts(
        _novel(row, tuning, evidence, bar),
        abs(far.distance) / bar,
        abs(far.drift) / drift_bar(row, tuning),
        _apart(row, tuning, far.apart),
        quiet.still,
        quiet.away,
    )


@compiled
def _novel(row: Any, tuning: Tuning, evidence: Evidence, bar: float) -> float:
    if row.hushed > 0.0 or (evidence.swift == 0.0 and evidence.steady == 0.0):
        return 0.0
    # where single samples often lie far off, that one was never seen before says little
    swift = evidence.swift * tuning.spike / bar
    young = 1.0 + tuning.novel_young / (row.units + 1.0)
    return float((swift + evidence.steady) / ((1.0 + row.usual) * tuning.novel * young))


@compiled
def _apart(row: Any, tuning: Tuning, apart: float) -> float:
    if row.days == 0.0 or row.hushed > 0.0:  # what is usual of old is not known yet, or has just changed for good
        return 0.0
    return float(abs(apart) / apart_bar(row, tuning))


@compiled
def strength(parts: Parts) -> float:
    """Join the kinds: near the greatest, and more where several agree (fourth-power sum).

    The long mean of distances agrees with nothing: the long means of novelty see the same.
    """
    a = min(parts.novel, _MOST)
    b = min(max(parts.spike, parts.drift, parts.still, parts.away), _MOST)
    # most samples are nothing new, and two square roots would be a tenth of their time
    joined = b if a == 0.0 else math.sqrt(math.sqrt(a * a * a * a + b * b * b * b))
    return max(joined, min(parts.apart, _MOST))


@compiled
def decide(row: Any, tuning: Tuning, strong: float, gap_s: float, unit_s: float) -> bool:
    """Open an alarm at strength 1, close it when evidence was weak for long enough; True where one opens."""
    if row.alarm == 0.0:
        if strong < 1.0:
            return False
        row.alarm = 1.0
        row.calm = 0.0
        return True
    # what has been off to one side for long is not over, though learning makes its distance shrink
    off = abs(row.run) >= tuning.rearm_units
    if off or strong >= min(max(tuning.rearm, _BUSTLE * row.bustle), _MOST_WEAK):
        row.calm = 0.0
        return False
    row.calm += gap_s
    if row.calm >= max(tuning.rearm_s, (tuning.rearm_units - 0.5) * unit_s):
        row.alarm = 0.0
    return False


@compiled
def score(strong: float, opens: bool) -> float:
    """Rank evidence from 0 to 1: below 1/2 too little for an alarm, above 0.6 where an alarm opens."""
    if opens:
        return 1.0 - 0.4 / strong
    if strong >= 1.0:
        return 0.6 - 0.1 / strong
    return 0.5 * strong * strong


@compiled
def follow(row: Any, tuning: Tuning, evidence: float, strong: float, elapsed: float, least: float) -> None:
    """Follow what novelty and what strength are usual."""
    row.usual += min(tuning.usual_rate * elapsed, 1.0) * (evidence - row.usual)
    row.bustle += max(min(elapsed / _BUSTLE_UNITS, 1.0), least) * (min(strong, 0.5) - row.bustle)
