"""Before and after a change: windows of a service's signals, the season taken out, disturbed intervals left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from models.comparison import Verdict, compare, growth, judge
from pipeline.advise.symptoms import FELT
from pipeline.records import Comparison

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from pipeline.advise.frames import Frame
    from pipeline.advise.history import History
    from pipeline.signals.definitions import Signal

    Float64s = npt.NDArray[np.float64]
    Int64s = npt.NDArray[np.int64]

MAX_INTERVALS: Final = 30
"""Intervals of a window at most: the newest count."""
MIN_INTERVALS: Final = 5
"""Intervals after a change that a verdict needs."""
_MAX_DISTURBED: Final = 720
_PAUSES: Final = 4
"""One of so many readings before a change may look healthy: in the lab, two of eight of a full pool did."""


class Trial(msgspec.Struct):
    """A change that was made to a service, with what was before it; times in ms."""

    service: str
    at: int
    before: dict[str, list[float]]
    """Newest values before the change, by signal."""
    healthy: dict[str, list[float]] = {}
    """Values before the trouble that the change was to end."""
    disturbed: list[int] = []
    """Ends of intervals that are left out."""
    harmed: int = 0
    """Intervals in a row in which something that must not get worse was worse."""
    held_up: list[int] = []
    """Ends of intervals in which a callee had trouble: left out of what users feel, which a callee's trouble moves."""

    def disturb(self, end_ms: int) -> None:
        """Leave this interval out."""
        self.disturbed = [*self.disturbed, end_ms][-_MAX_DISTURBED:]

    def hold_up(self, end_ms: int) -> None:
        """Leave this interval out of what users feel."""
        self.held_up = [*self.held_up, end_ms][-_MAX_DISTURBED:]

    def count(self, frame: Frame, *, harmed: bool) -> None:
        """One more interval in which something was worse, or none; one in which nobody was served says neither."""
        if harmed:
            self.harmed += 1
        elif any((told := frame.signals.get(name)) is not None and told.value is not None for name in FELT):
            self.harmed = 0

    def left_out(self, signal: str) -> list[int]:
        """Ends of the intervals that tell nothing of this signal."""
        return self.disturbed + self.held_up if signal in FELT else self.disturbed


class Windows:
    """Cuts windows out of the history and compares them. Larger values of what it compares are worse."""

    def __init__(self, history: History, signals: Mapping[str, Signal]) -> None:
        self._history = history
        self._signals = signals

    def open(self, service: str, at: int, signals: Iterable[str], began: int, onset: int) -> Trial:
        """A trial of a change made at `at`: what was from `began` on is before, what was until `onset` is healthy."""
        names = list(signals)
        values, ends = self._history.seasonless(service, names, at)
        return Trial(
            service=service,
            at=at,
            before=_columns(names, values[(ends > began) & (ends <= at)]),
            healthy=_columns(names, values[ends <= min(onset, began)]),
        )

    def after(self, trial: Trial, signal: str, since: int) -> Float64s:
        """The newest undisturbed values of intervals that began at or after `since`, as if at the change's hour."""
        return self._after(trial, signal, since)[0]

    def now(self, trial: Trial, signal: str, end_ms: int) -> float | None:
        """Its value in the interval that ends then; None where that has none: what was read before is not new."""
        values, ends = self._after(trial, signal, trial.at)
        return float(values[-1]) if len(ends) and int(ends[-1]) == end_ms else None

    def worse(self, trial: Trial, signal: str, since: int, usual: float | None) -> bool:
        """Whether the signal is worse since than before the change, by more than it was getting worse already.

        Trouble that grows of itself grows on after a change that does nothing, so the growth of the window before is
        taken out of both windows, as the season is; until the trouble is twice what it was, for no growth is for ever.
        """
        before = self._badness(signal, np.array(trial.before.get(signal, [])), usual)
        values, ends = self._after(trial, signal, since)
        after = self._badness(signal, values, usual)
        pace = growth(before)
        grown = before + pace * np.arange(len(before), 0, -1)
        healthy = self._badness(signal, np.array(trial.healthy.get(signal, [])), usual)
        trouble = float(np.median(grown) - (np.median(healthy) if len(healthy) else 0.0)) if pace else 0.0
        more = np.clip(pace * (ends - trial.at) / self._history.frame_ms, 0.0, max(0.0, trouble))
        return judge(grown, after - more, self._floor(signal, before)) is Verdict.WORSE

    def verdict(self, signal: str, first: Iterable[float], second: Iterable[float], usual: float | None) -> Verdict:
        """Whether the signal is better or worse in the second window."""
        before, after = np.array([*first]), np.array([*second])
        bad_before, bad_after = self._badness(signal, before, usual), self._badness(signal, after, usual)
        return judge(bad_before, bad_after, self._floor(signal, before))

    def compared(self, signal: str, first: Iterable[float], second: Iterable[float]) -> Comparison:
        """The figures, for people."""
        before, after = np.array([*first]), np.array([*second])
        both = len(before) and len(after)
        shift = compare(before, after) if both else None
        return Comparison(
            signal=signal,
            before=float(f"{np.median(before):.7g}") if len(before) else None,
            after=float(f"{np.median(after):.7g}") if len(after) else None,
            intervals_before=len(before),
            intervals_after=len(after),
            p=1.0 if shift is None else float(f"{shift.p:.3g}"),
            delta=0.0 if shift is None else round(shift.delta, 4),
        )

    def separated(self, signal: str, first: Iterable[float], second: Iterable[float], usual: float | None) -> bool:
        """Whether nearly every value of the second window is better than nearly every one of the first.

        A gauge is read at one moment, so trouble may seem to pause: of a first window of some length a quarter may.
        """
        before, after = np.array([*first]), np.array([*second])
        if not len(before) or not len(after):
            return False
        bad_before = np.sort(self._badness(signal, before, usual))
        kept = bad_before[len(bad_before) // _PAUSES :] if len(bad_before) >= MIN_INTERVALS else bad_before
        return compare(kept, self._badness(signal, after, usual)).delta < -0.8

    def _after(self, trial: Trial, signal: str, since: int) -> tuple[Float64s, Int64s]:
        """Those values and the ends of their intervals."""
        values, ends = self._history.seasonless(trial.service, [signal], trial.at)
        column = values[:, 0]
        kept = (ends - self._history.frame_ms >= since) & ~np.isin(ends, trial.left_out(signal)) & ~np.isnan(column)
        return column[kept][-MAX_INTERVALS:], ends[kept][-MAX_INTERVALS:]

    def _floor(self, signal: str, before: Float64s) -> float:
        """What a difference must exceed at least."""
        shape = self._signals.get(signal)
        if shape is None or shape.worse != "up" or not len(before):
            return 0.0
        return max(shape.floor, shape.floor_share * abs(float(np.median(before))))

    def _badness(self, signal: str, values: Float64s, usual: float | None) -> Float64s:
        """Of which more is worse: misses of a hit ratio, the inverse of a rate, the distance from what is usual."""
        shape = self._signals.get(signal)
        if shape is None or shape.worse == "up":
            return values
        if shape.worse == "both":
            return np.abs(values - (usual if usual is not None else 0.0))
        result: Float64s = 1.0 - values if shape.unit == "1" else 1.0 / np.maximum(values, 1e-9)
        return result


def _columns(names: list[str], values: Float64s) -> dict[str, list[float]]:
    found = {}
    for name, column in zip(names, values.T, strict=True):
        kept = column[~np.isnan(column)][-MAX_INTERVALS:]
        if len(kept):
            found[name] = kept.tolist()
    return found
