"""Static rules with durations: pending, firing, resolved, on the frames' own time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.columns import Columns
from pipeline.detect.frame import ClosedFrame, Flag
from pipeline.records import Detector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from pipeline.detect.detectors.thresholds import StaticRule

_LAYOUT_VERSION = 1


class StaticRules:
    """Every static rule on every service.

    A rule is pending from the start of the first frame beyond its threshold, fires at the end of the frame in which
    it has held for its duration, and ends when the signal is back beyond `clear_at`. Frames without a value change
    nothing until they last `patience_ms`; then the rule starts over.
    """

    def __init__(self, rules: Mapping[str, StaticRule], signals: Sequence[str], patience_ms: int) -> None:
        self._rules = list(rules.items())
        self._column = [signals.index(rule.signal) for rule in rules.values()]
        self._patience_ms = patience_ms
        self._sign = np.array([rule.sign for rule in rules.values()], dtype=np.float64)
        self._threshold = np.array([rule.threshold for rule in rules.values()])
        self._clear_at = np.array([rule.clear_at for rule in rules.values()])
        self._hold_ms = np.array([rule.hold_ms for rule in rules.values()], dtype=np.int64)
        shape = (len(self._rules),)
        self._state = Columns(
            _LAYOUT_VERSION, {"since": ("i8", shape), "firing": ("?", shape), "seen": ("i8", shape), "on": ("?", shape)}
        )

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        self._state.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        """These services are gone."""
        self._state.evict(rows)

    def attach(self, row: int, service: str) -> None:
        """A service has this row from now on."""
        self._state["on"][row] = [rule.concerns(service) for _, rule in self._rules]

    def judge(self, frame: ClosedFrame) -> Iterator[Flag]:
        """The rules that fire at the end of this frame."""
        since, firing = self._advance(frame)
        for row, number in np.argwhere(firing).tolist():
            rule_id, rule = self._rules[number]
            yield Flag(
                row=row,
                column=self._column[number],
                detector=Detector.STATIC,
                severity=rule.severity,
                score=1.0,
                since=int(since[row, number]),
                rule=rule_id,
                threshold=rule.threshold,
            )

    def _advance(self, frame: ClosedFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Move all rules on; since int64[rows, rules], firing bool[rows, rules]."""
        rows = len(frame.values)
        value = frame.values[:, self._column]
        since, firing, seen, on = (self._state[name][:rows] for name in ("since", "firing", "seen", "on"))
        valid = ~np.isnan(value) & on
        breach = valid & (self._sign * (value - self._threshold) > 0)
        seen[valid] = frame.end
        since[breach & (since == 0)] = frame.start
        ended = firing & valid & (self._sign * (value - self._clear_at) <= 0) & ~breach
        never_held = ~firing & valid & ~breach
        silent = ~valid & (frame.end - seen > self._patience_ms)
        since[ended | never_held | silent] = 0
        firing[ended | silent] = False
        firing |= breach & (frame.end - since >= self._hold_ms)
        return since, firing

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        return self._state.snapshot()

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become the rules that gave this snapshot. Raises ValueError where they are not the same in number."""
        self._state.restore(state)
