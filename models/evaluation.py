"""How good alarms are: NAB's scores, and event precision, recall and delay.

NAB: Lavin & Ahmad, "Evaluating Real-time Anomaly Detection Algorithms - the Numenta Anomaly Benchmark"
(ICMLA 2015), in the form of its version 1.1. Events: a found event counts once however long its alarm is, and
an alarm that goes on counts once however long it lasts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from models.contracts import Bools, Float64s, Int64s


class NabProfile(NamedTuple):
    """What a found window is worth, and what a missed one and a false alarm cost."""

    tp: float
    fn: float
    fp: float


NAB_PROFILES: Final[Mapping[str, NabProfile]] = {
    "standard": NabProfile(1.0, 1.0, 0.11),
    "reward_low_fp": NabProfile(1.0, 1.0, 0.22),
    "reward_low_fn": NabProfile(1.0, 2.0, 0.11),
}


class NabSeries(NamedTuple):
    """Scores float64[n] of one series and its labelled windows int64[k, 2], first and last row of each."""

    scores: Float64s
    windows: Int64s


class NabResult(NamedTuple):
    """A normalised NAB score (100 is perfect, 0 is silence) and the threshold that gives it."""

    score: float
    threshold: float


class NabCurve(NamedTuple):
    """Raw NAB score of some series at every threshold that makes a difference.

    profile  what counts for how much
    windows  labelled windows of the series
    levels   float64[k], descending; the first is infinity, silence
    raw      float64[k]
    """

    profile: NabProfile
    windows: int
    levels: Float64s
    raw: Float64s

    def best(self) -> float:
        """Give the threshold with the highest score, the greatest of equal ones."""
        return float(self.levels[int(np.argmax(self.raw))])

    def at(self, threshold: float) -> float:
        """Give the raw score of the rows at or above a threshold."""
        return float(self.raw[int(np.sum(self.levels >= threshold)) - 1])

    def normalised(self, raw: float) -> float:
        """Put a raw score of these windows on NAB's scale: 100 * (raw - silent) / (perfect - silent).

        NaN without windows.
        """
        if not self.windows:
            return math.nan
        silent, perfect = -self.profile.fn * self.windows, self.profile.tp * self.windows
        return 100.0 * (raw - silent) / (perfect - silent)


PROBATION: Final = 0.15
"""Leading part of a series that is not judged."""
DAY_MS: Final = 86_400_000

_FULL: Final = 2.0 / (1.0 + math.exp(-5.0)) - 1.0  # worth of a window's first row


class _Credits(NamedTuple):
    """Rows that a threshold may turn into detections, in descending order of score."""

    score: Float64s
    gain: Float64s  # what the row adds to its window's best position, 0 outside
    first: Int64s  # 1 where the row is the first detection of its window
    harm: Float64s  # a false alarm's cost, -1 to 0


def nab_probation(length: int) -> int:
    """Count the leading rows that NAB never judges: 15 %, at most 750."""
    return int(min(0.15 * length, 0.15 * 5000))


def nab_score(series: Sequence[NabSeries], profile: NabProfile, threshold: float | None = None) -> NabResult:
    """Score the rows at or above one threshold over all series: the one given, else the best for the profile."""
    curve = nab_curve(series, profile)
    level = curve.best() if threshold is None else threshold
    return NabResult(curve.normalised(curve.at(level)), level)


def nab_curve(series: Sequence[NabSeries], profile: NabProfile) -> NabCurve:
    """Raw score at every threshold, one over all series; a threshold takes equal scores together."""
    windows = sum(len(one.windows) for one in series)
    rows = _in_descending_order(series)
    last = np.flatnonzero(np.diff(rows.score, append=-np.inf))
    raw = profile.tp * np.cumsum(rows.gain)[last] + profile.fp * np.cumsum(rows.harm)[last]
    raw -= profile.fn * (windows - np.cumsum(rows.first)[last])
    return NabCurve(profile, windows, np.append(np.inf, rows.score[last]), np.append(-profile.fn * windows, raw))


def _in_descending_order(series: Sequence[NabSeries]) -> _Credits:
    parts = [_credits(one) for one in series]
    joined = _Credits(
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.gain for part in parts]),
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.harm for part in parts]),
    )
    order = np.argsort(-joined.score, kind="stable")
    return _Credits(joined.score[order], joined.gain[order], joined.first[order], joined.harm[order])


def _credits(series: NabSeries) -> _Credits:
    n = len(series.scores)
    rows = np.arange(n)
    start = nab_probation(n)
    gain, first, inside = np.zeros(n), np.zeros(n, np.int64), np.zeros(n, np.bool_)
    harm = np.full(n, -1.0)
    for left, right in series.windows:
        width = right - left + 1
        inside[left : right + 1] = True
        window = np.arange(max(left, start), right + 1)
        window = window[np.argsort(-series.scores[window], kind="stable")]
        worth = _sigmoid(-(right - window + 1) / width) / _FULL
        best = np.maximum.accumulate(np.append(-np.inf, worth))
        gain[window] = np.diff(best, prepend=0.0)[1:] if len(window) else 0.0
        gain[window[:1]], first[window[:1]] = worth[:1], 1
        after = (rows - right) / max(width - 1, 1)
        harm = np.where(rows > right, np.where(after > 3.0, -1.0, _sigmoid(after)), harm)
    harm[inside] = 0.0
    judged = slice(start, None)
    return _Credits(np.asarray(series.scores, np.float64)[judged], gain[judged], first[judged], harm[judged])


def _sigmoid(y: Float64s) -> Float64s:
    return 2.0 / (1.0 + np.exp(5.0 * y)) - 1.0


@dataclass(frozen=True, slots=True)
class EventCounts:
    """Events found and alarms that were right, added up over series with `+`.

    delays: samples from an event's start to the first alarm of each found event, at least 0.
    days: how long the series were judged, 0 where no times were given.
    excused: episodes that are neither right nor wrong, and not among `episodes`.
    """

    found: int = 0
    events: int = 0
    right: int = 0
    episodes: int = 0
    delays: tuple[int, ...] = ()
    days: float = 0.0
    excused: int = 0

    def __add__(self, other: EventCounts) -> EventCounts:
        return EventCounts(
            self.found + other.found,
            self.events + other.events,
            self.right + other.right,
            self.episodes + other.episodes,
            self.delays + other.delays,
            self.days + other.days,
            self.excused + other.excused,
        )

    @property
    def precision(self) -> float:
        """Right episodes over episodes; 0 without any."""
        return self.right / self.episodes if self.episodes else 0.0

    @property
    def recall(self) -> float:
        """Found events over events; 0 without any."""
        return self.found / self.events if self.events else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2.0 * self.precision * self.recall / both if both else 0.0

    @property
    def false_alarms_per_day(self) -> float:
        """Episodes that were not right for each series-day; NaN without times."""
        return (self.episodes - self.right) / self.days if self.days else math.nan

    @property
    def delay(self) -> float:
        """Median delay of the found events, in samples; NaN without any."""
        return float(np.median(self.delays)) if self.delays else math.nan


def score_events(
    labels: Bools,
    alarm: Bools,
    *,
    slack: int = 2,
    gap: int | None = None,
    start: int | None = None,
    ts: Int64s | None = None,
    excused: Bools | None = None,
) -> EventCounts:
    """Compare alarms bool[n] with labels bool[n] as events.

    An event is a run of labelled samples, found if an alarm lies within `slack` samples of it. An episode is a run of
    alarms at most `gap` apart (`slack`, where it is left out), right if it lies within `slack` samples of an event; one
    that is not, and all of whose alarms are `excused` bool[n], is not counted. Rows before `start`, 15 % of the series
    where it is left out, do not count. With times `ts` int64[n] ms, the judged days are counted too.
    """
    start = int(PROBATION * len(labels)) if start is None else start
    events = np.array(list(runs(np.asarray(labels, np.bool_)[start:])), np.int64).reshape(-1, 2)
    raised = np.asarray(alarm, np.bool_)[start:]
    episodes = np.array(list(runs(raised, slack if gap is None else gap)), np.int64).reshape(-1, 2)
    where = np.append(np.flatnonzero(raised), len(labels) + 2 * slack + 1)
    first = where[np.searchsorted(where, events[:, 0] - slack)]
    found = first <= events[:, 1] + slack
    delays = np.maximum(first - events[:, 0], 0)[found]
    # Events ascend and do not overlap: the first that ends late enough is the one to look at.
    ends = np.append(events[:, 1] + slack, len(labels) + 2 * slack + 1)
    begins = np.append(events[:, 0] - slack, len(labels) + 2 * slack + 1)
    right = begins[np.searchsorted(ends, episodes[:, 0])] <= episodes[:, 1]
    let_off = int((~right & _all_within(episodes, raised, excused, start)).sum())
    days = float(ts[-1] - ts[start]) / DAY_MS if ts is not None and start < len(ts) else 0.0
    told = tuple(delays.tolist())
    return EventCounts(int(found.sum()), len(events), int(right.sum()), len(episodes) - let_off, told, days, let_off)


def _all_within(episodes: Int64s, raised: Bools, excused: Bools | None, start: int) -> Bools:
    """Whether all alarms of each episode are excused, bool[episodes]; rows of the episodes begin at `start`."""
    if excused is None:
        return np.zeros(len(episodes), dtype=np.bool_)
    others = np.append(0, np.cumsum(raised & ~np.asarray(excused, np.bool_)[start:]))
    return np.asarray(others[episodes[:, 1] + 1] == others[episodes[:, 0]])


def runs(flags: Bools, gap: int = 1) -> Iterator[tuple[int, int]]:
    """Give first and last row of each run of true values; true rows at most `gap` apart belong together."""
    where = np.flatnonzero(flags)
    if len(where):
        breaks = np.flatnonzero(np.diff(where) > gap)
        firsts = where[np.append(0, breaks + 1)]
        lasts = where[np.append(breaks, len(where) - 1)]
        yield from zip(firsts.tolist(), lasts.tolist(), strict=True)


def onsets(alarm: Bools) -> Bools:
    """Keep the first sample of each run of alarms: bool[n], true where an alarm opens."""
    raised = np.asarray(alarm, np.bool_)
    opening = raised.copy()
    opening[1:] &= ~raised[:-1]
    return opening
