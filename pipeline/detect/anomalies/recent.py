"""The last values of each signal: what a new anomaly shows as a sparkline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.columns import Columns
from pipeline.detect.anomalies.lifecycle import RECENT
from pipeline.detect.cells import Cells, part_of, prefixed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from pipeline.detect.frame import ClosedFrame

_LAYOUT_VERSION = 2


class RecentValues:
    """A ring of the newest `RECENT` frame values of each signal that its service has ever had a value of, float32."""

    def __init__(self, signals: int, frame_ms: int) -> None:
        self._frame_ms = frame_ms
        self._cells = Cells(signals)
        # Values by frame number modulo the size, and the end of the first frame that is there.
        self._rings = Columns(_LAYOUT_VERSION, {"value": ("f4", (RECENT,)), "first": ("i8", ())})
        self._ends = np.zeros(RECENT, dtype=np.int64)

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        self._cells.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        """These services are gone."""
        self._cells.evict(rows, self._rings)

    def keep(self, frame: ClosedFrame) -> None:
        """Remember this frame."""
        self._cells.take(*np.nonzero(~np.isnan(frame.values)))
        self._rings.grow(self._cells.slots)
        table = self._cells.table()[: len(frame.values)]
        held = table >= 0
        slots = table[held]
        place = (frame.start // self._frame_ms) % RECENT
        self._rings["value"][slots, place] = frame.values[held]
        self._ends[place] = frame.end
        first = self._rings["first"]
        first[slots[first[slots] == 0]] = frame.end

    def of(self, row: int, column: int, before: int) -> list[float]:
        """Values of the frames that ended before this time (ms), oldest first; from the signal's first value on."""
        slot = self._cells.of(row, column)
        if slot < 0:
            return []
        since = max(before - RECENT * self._frame_ms + 1, int(self._rings["first"][slot]))
        order = np.argsort(self._ends, kind="stable")
        order = order[(self._ends[order] >= since) & (self._ends[order] < before)]
        values: list[float] = self._rings["value"][slot, order].tolist()
        return values

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        return prefixed(cells=self._cells.snapshot(), rings=self._rings.snapshot(), ends={"end": self._ends.copy()})

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit."""
        self._cells.restore(part_of(state, "cells"))
        self._rings.restore(part_of(state, "rings"))
        self._ends = np.array(state["ends.end"])
