"""Regression rules: worse than at the same time some time ago (guide: 20 % against one day before)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from models.columns import Columns
from pipeline.detect.frame import ClosedFrame, Flag
from pipeline.records import Detector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from pipeline.detect.thresholds import RegressionRule

_LAYOUT_VERSION = 1


class RegressionRules:
    """Every regression rule on every service.

    Compared are the means over `window` ending now and ending `ago` before; both need values in half of their
    frames. The rule fires when the condition has held for its duration and ends at half of its margin.
    """

    def __init__(self, rules: Mapping[str, RegressionRule], signals: Sequence[str], frame_ms: int) -> None:
        self._rules = list(rules.items())
        self._column = [signals.index(rule.signal) for rule in rules.values()]
        self._frame_ms = frame_ms
        self._window = [max(1, rule.window_ms // frame_ms) for _, rule in self._rules]
        self._ago = [max(1, rule.ago_ms // frame_ms) for _, rule in self._rules]
        self._size = max((a + w for a, w in zip(self._ago, self._window, strict=True)), default=1)
        shape = (len(self._rules),)
        self._state = Columns(
            _LAYOUT_VERSION,
            {
                # Values by frame number modulo the size, and whether there was one.
                "ring": ("f4", (len(self._rules), self._size)),
                "has": ("?", (len(self._rules), self._size)),
                "since": ("i8", shape),
                "firing": ("?", shape),
            },
        )

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        self._state.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        """These services are gone."""
        self._state.evict(rows)

    def judge(self, frame: ClosedFrame) -> Iterator[Flag]:
        """The rules that fire at the end of this frame."""
        rows = len(frame.values)
        place = (frame.start // self._frame_ms) % self._size
        for number, (rule_id, rule) in enumerate(self._rules):
            value = frame.values[:, self._column[number]]
            if np.isnan(value).all() and not self._state["has"][:rows, number].any():
                continue
            self._state["ring"][:rows, number, place] = np.nan_to_num(value)
            self._state["has"][:rows, number, place] = ~np.isnan(value)
            now, then = self._means(number, rows, place)
            yield from self._flags(number, rule_id, rule, frame, worse_share(rule, now, then))

    def _means(self, number: int, rows: int, place: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Means over the window now and over the same window `ago`; float64[rows] each."""
        ring, has = self._state["ring"][:rows, number], self._state["has"][:rows, number]
        window = self._window[number]
        return _window_means(ring, has, place, window), _window_means(ring, has, place - self._ago[number], window)

    def _flags(
        self, number: int, rule_id: str, rule: RegressionRule, frame: ClosedFrame, share: npt.NDArray[np.float64]
    ) -> Iterator[Flag]:
        rows = len(share)
        since = self._state["since"][:rows, number]
        firing = self._state["firing"][:rows, number]
        breach = share > rule.worse_by
        since[breach & (since == 0)] = frame.start
        over = np.where(firing, ~(share > rule.worse_by / 2), ~breach)
        since[over] = 0
        firing[over] = False
        firing |= breach & (frame.end - since >= rule.hold_ms)
        for row in np.flatnonzero(firing).tolist():
            yield Flag(
                row=row,
                column=self._column[number],
                detector=Detector.REGRESSION,
                severity=rule.severity,
                # Twice the permitted margin is as certain as it gets.
                score=min(1.0, max(0.0, float(share[row]) / (2 * rule.worse_by))),
                since=int(since[row]),
                rule=rule_id,
                threshold=rule.worse_by,
            )

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        return self._state.snapshot()

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become the rules that gave this snapshot. Raises ValueError where they do not fit."""
        self._state.restore(state)


@numba.njit(cache=True, nogil=True)
def _window_means(
    ring: npt.NDArray[np.float32], has: npt.NDArray[np.bool_], newest: int, window: int
) -> npt.NDArray[np.float64]:
    """Mean of each row's `window` places up to `newest` (round the ring); NaN where less than half have a value."""
    rows, size = ring.shape
    means = np.full(rows, np.nan)
    for row in range(rows):
        total, count = 0.0, 0
        for back in range(window):
            place = (newest - back) % size
            if has[row, place]:
                total += ring[row, place]
                count += 1
        if 2 * count >= window:
            means[row] = total / count
    return means


def worse_share(
    rule: RegressionRule, now: npt.NDArray[np.float64], then: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """By which share `now` is worse than `then`; 0 where the difference is below the floor, NaN without both."""
    worse = rule.sign * (now - then)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(then > 0, worse / then, np.inf)
    share = np.where(worse > rule.floor, share, 0.0)
    result: npt.NDArray[np.float64] = np.where(np.isnan(now) | np.isnan(then), np.nan, share)
    return result
