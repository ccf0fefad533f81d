"""Policy: turn novelty and magnitude into one decision, with hysteresis, fatigue and re-arming in time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numba

if TYPE_CHECKING:
    from models.online.tuning import Tuning

FIELDS: Final[list[Any]] = [
    ("usual", "f8"),  # usual novelty
    ("novel_alarms", "f4"),  # recent novelties, decaying
    ("lone_spikes", "f4"),  # recent alarms of one sample, decaying
    ("spiked", "f4"),  # 1 when the sample before raised an alarm by its distance
    ("bustle", "f4"),  # usual strength of evidence
    ("calm", "f4"),  # s of weak evidence while in alarm
    ("alarm", "f4"),  # 1 while in alarm
    ("novel_since", "f4"),  # units since novelty passed its bar; 0 when it is armed again
]


_PUT_OFF: Final = 4.0
_BUSTLE: Final = 1.5  # times the usual strength are weak: a sawtooth is always a little off
_BUSTLE_UNITS: Final = 200.0
_MOST_WEAK: Final = 0.6  # of the bar is never weak


class Parts(NamedTuple):
    """Evidence of each kind as a part of its bar: 1 raises an alarm alone, but for novelty, where 1 is news."""

    novel: float
    spike: float
    drift: float
    still: float


@numba.njit(nogil=True, error_model="numpy")
def weigh(row: Any, tuning: Tuning, evidence: float, distance: float, drift: float, still: float) -> Parts:
    """Measure evidence against bars that recent alarms of its kind have raised."""
    return Parts(
        evidence / (1.0 + row.usual) / (tuning.news * (1.0 + tuning.novel_fatigue * row.novel_alarms)),
        abs(distance) / (tuning.spike * (1.0 + tuning.spike_fatigue * row.lone_spikes)),
        abs(drift) / tuning.drifted,
        still,
    )


@numba.njit(nogil=True, error_model="numpy")
def strength(tuning: Tuning, parts: Parts) -> float:
    """Join the kinds: near the greatest, and more where several agree (fourth-power sum)."""
    a = min(parts.novel / tuning.novel, 1e6)
    b = min(max(parts.spike, parts.drift, parts.still), 1e6)
    return math.sqrt(math.sqrt(a * a * a * a + b * b * b * b))


@numba.njit(nogil=True, error_model="numpy")
def news(row: Any, tuning: Tuning, parts: Parts, elapsed: float) -> bool:
    """Tell the first sample of a novelty from its rest, and count it."""
    row.novel_alarms /= 1.0 + elapsed / tuning.novel_fatigue_units
    if row.novel_since > 0.0:
        row.novel_since += elapsed
        if row.novel_since > tuning.novel_rearm_units and parts.novel < tuning.rearm:
            row.novel_since = 0.0
        return False
    if parts.novel < 1.0:
        return False
    row.novel_since = 1e-6
    row.novel_alarms += 1.0
    return True


@numba.njit(nogil=True, error_model="numpy")
def decide(row: Any, tuning: Tuning, parts: Parts, strong: float, gap_s: float, unit_s: float) -> None:
    """Open an alarm at strength 1; close it when evidence was weak for long enough."""
    elapsed = gap_s / unit_s
    row.lone_spikes /= 1.0 + elapsed / tuning.spike_fatigue_units
    if row.spiked > 0.0:
        row.spiked = 0.0
        row.lone_spikes += 1.0 if parts.spike < tuning.lone else 0.0
    if row.alarm == 0.0:
        if strong >= 1.0:
            row.alarm = 1.0
            row.calm = 0.0
            row.spiked = 1.0 if parts.spike >= 1.0 else 0.0
    elif strong >= min(max(tuning.rearm, _BUSTLE * row.bustle), _MOST_WEAK):
        # of many samples some are always a little off: they put the end off, but do not start anew
        row.calm = max(row.calm - _PUT_OFF * gap_s, 0.0)
    else:
        row.calm += gap_s
        if row.calm >= max(tuning.rearm_s, (tuning.rearm_units - 0.5) * unit_s):
            row.alarm = 0.0


@numba.njit(nogil=True, error_model="numpy")
def score(parts: Parts, strong: float, is_news: bool) -> float:
    """Rank evidence from 0 to 1: below 1/2 too little for an alarm, above 0.6 the first of something never seen."""
    if is_news:
        return 1.0 - 0.4 / parts.novel
    if strong >= 1.0:
        return 0.6 - 0.1 / strong
    return 0.5 * strong * strong


@numba.njit(nogil=True, error_model="numpy")
def follow(row: Any, tuning: Tuning, evidence: float, strong: float, elapsed: float) -> None:
    """Follow what novelty and what strength are usual."""
    row.usual += min(tuning.novel_rate * elapsed, 1.0) * (evidence - row.usual)
    row.bustle += max(min(elapsed / _BUSTLE_UNITS, 1.0), 1.0 / (row.n + 1.0)) * (min(strong, 0.5) - row.bustle)
