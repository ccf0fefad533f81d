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

    from pipeline.detect.detectors.thresholds import RegressionRule

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
        values = frame.values[:, self._column]
        self._cells.take(*np.nonzero(~np.isnan(values)))
        self._state.grow(self._cells.slots)
        table = self._cells.table()[: len(values)]
        ring, has = self._state["ring"], self._state["has"]
        _remember(ring, has, table, values, place)
        for number, (rule_id, rule) in enumerate(self._rules):
            window, ago = self._window[number], self._ago[number]
            slots = table[:, number]
            now, then = (_window_means(ring, has, slots, newest, window) for newest in (place, place - ago))
            share = worse_share(rule.sign, rule.floor, now, then)
            firing = _advance(
                self._state["since"], self._state["firing"], slots, share, frame.start, frame.end, _limits(rule)
            )
            for row in np.flatnonzero(firing).tolist():
                yield self._flag(number, rule_id, rule, row, int(slots[row]), float(share[row]))

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


def _limits(rule: RegressionRule) -> tuple[float, int]:
    return rule.worse_by, rule.hold_ms


@numba.njit(cache=True, nogil=True)
def _remember(
    ring: npt.NDArray[np.float32],
    has: npt.NDArray[np.bool_],
    table: npt.NDArray[np.int32],
    values: npt.NDArray[np.float64],
    place: int,
) -> None:
    """Put the values float64[rows, rules] into their slots' rings at this place."""
    for row in range(table.shape[0]):
        for number in range(table.shape[1]):
            slot = table[row, number]
            if slot >= 0:
                known = not np.isnan(values[row, number])
                has[slot, place] = known
                ring[slot, place] = values[row, number] if known else 0.0


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
        if slot < 0:
            continue
        total, count = 0.0, 0
        for back in range(window):
            place = (newest - back) % size
            if has[slot, place]:
                total += ring[slot, place]
                count += 1
        if 2 * count >= window:
            means[at] = total / count
    return means


@numba.njit(cache=True, nogil=True)
def worse_share(
    sign: int, floor: float, now: npt.NDArray[np.float64], then: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """By which share `now` is worse than `then`; 0 where the difference is below the floor, NaN without both."""
    result = np.full(len(now), np.nan)
    for at in range(len(now)):
        if not (np.isnan(now[at]) or np.isnan(then[at])):
            worse = sign * (now[at] - then[at])
            if worse <= floor:
                result[at] = 0.0
            else:
                result[at] = worse / then[at] if then[at] > 0 else np.inf
    return result


@numba.njit(cache=True, nogil=True)
def _advance(
    since: npt.NDArray[np.int64],
    firing: npt.NDArray[np.bool_],
    slots: npt.NDArray[np.int32],
    share: npt.NDArray[np.float64],
    start: int,
    end: int,
    limits: tuple[float, int],
) -> npt.NDArray[np.bool_]:
    """Move a rule on over the frame [start, end) ms in these slots (-1: none); bool[n]: in which it fires now."""
    worse_by, hold_ms = limits
    fires = np.zeros(len(slots), dtype=np.bool_)
    for at, slot in enumerate(slots):
        if slot < 0:
            continue
        breach = share[at] > worse_by
        if breach and since[slot] == 0:
            since[slot] = start
        holds = share[at] > worse_by / 2 if firing[slot] else breach
        if not holds:
            since[slot] = 0
            firing[slot] = False
        if breach and end - since[slot] >= hold_ms:
            firing[slot] = True
        fires[at] = firing[slot]
    return fires
