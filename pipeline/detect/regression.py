"""Regression rules: worse than at the same time some time ago (guide: 20 % against one day before)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from models.columns import Columns
from pipeline.detect.cells import Cells, part_of, prefixed
from pipeline.detect.frame import ClosedFrame, Flag
from pipeline.records import Detector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from pipeline.detect.thresholds import RegressionRule

_LAYOUT_VERSION = 2


class RegressionRules:
    """Every regression rule on every service that has ever had a value of its signal.

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
        self._cells = Cells(len(self._rules))
        self._state = Columns(
            _LAYOUT_VERSION,
            {
                # Values by frame number modulo the size, and whether there was one.
                "ring": ("f4", (self._size,)),
                "has": ("?", (self._size,)),
                "since": ("i8", ()),
                "firing": ("?", ()),
            },
        )

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        self._cells.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        """These services are gone."""
        self._cells.evict(rows, self._state)

    def judge(self, frame: ClosedFrame) -> Iterator[Flag]:
        """The rules that fire at the end of this frame."""
        place = (frame.start // self._frame_ms) % self._size
        has = ~np.isnan(frame.values[:, self._column])
        self._cells.take(*np.nonzero(has))
        self._state.grow(self._cells.slots)
        table = self._cells.table()[: len(has)]
        for number, (rule_id, rule) in enumerate(self._rules):
            rows = np.flatnonzero(table[:, number] >= 0)
            slots = table[rows, number]
            self._state["ring"][slots, place] = np.nan_to_num(frame.values[rows, self._column[number]])
            self._state["has"][slots, place] = has[rows, number]
            now, then = self._means(number, slots, place)
            firing = self._advance(rule, slots, frame, worse_share(rule, now, then))
            for at, share in firing:
                yield self._flag(number, rule_id, rule, int(rows[at]), int(slots[at]), share)

    def _means(
        self, number: int, slots: npt.NDArray[np.int32], place: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Means over the window now and over the same window `ago`; float64[slots] each."""
        ring, has = self._state["ring"], self._state["has"]
        window, ago = self._window[number], self._ago[number]
        return _window_means(ring, has, slots, place, window), _window_means(ring, has, slots, place - ago, window)

    def _advance(
        self, rule: RegressionRule, slots: npt.NDArray[np.int32], frame: ClosedFrame, share: npt.NDArray[np.float64]
    ) -> list[tuple[int, float]]:
        """Move the rule on in these cells; those in which it fires (position, share)."""
        since, firing = self._state["since"][slots], self._state["firing"][slots]
        breach = share > rule.worse_by
        since[breach & (since == 0)] = frame.start
        over = np.where(firing, ~(share > rule.worse_by / 2), ~breach)
        since[over] = 0
        firing[over] = False
        firing |= breach & (frame.end - since >= rule.hold_ms)
        self._state["since"][slots], self._state["firing"][slots] = since, firing
        return [(at, float(share[at])) for at in np.flatnonzero(firing).tolist()]

    def _flag(self, number: int, rule_id: str, rule: RegressionRule, row: int, slot: int, share: float) -> Flag:
        return Flag(
            row=row,
            column=self._column[number],
            detector=Detector.REGRESSION,
            severity=rule.severity,
            # Twice the permitted margin is as certain as it gets.
            score=min(1.0, max(0.0, share / (2 * rule.worse_by))),
            since=int(self._state["since"][slot]),
            rule=rule_id,
            threshold=rule.worse_by,
        )

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        return prefixed(cells=self._cells.snapshot(), state=self._state.snapshot())

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become the rules that gave this snapshot. Raises ValueError where they do not fit."""
        self._cells.restore(part_of(state, "cells"))
        self._state.restore(part_of(state, "state"))


@numba.njit(cache=True, nogil=True)
def _window_means(
    ring: npt.NDArray[np.float32],
    has: npt.NDArray[np.bool_],
    slots: npt.NDArray[np.int32],
    newest: int,
    window: int,
) -> npt.NDArray[np.float64]:
    """Mean of each slot's `window` places up to `newest` (round the ring); NaN where less than half have a value."""
    size = ring.shape[1]
    means = np.full(len(slots), np.nan)
    for at, slot in enumerate(slots):
        total, count = 0.0, 0
        for back in range(window):
            place = (newest - back) % size
            if has[slot, place]:
                total += ring[slot, place]
                count += 1
        if 2 * count >= window:
            means[at] = total / count
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
