"""The last values of each signal: what a new anomaly shows as a sparkline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.columns import Columns
from pipeline.detect.lifecycle import RECENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from pipeline.detect.frame import ClosedFrame

_LAYOUT_VERSION = 1


class RecentValues:
    """A ring of the newest `RECENT` frame values of each signal of each service, float32."""

    def __init__(self, signals: int, frame_ms: int) -> None:
        self._frame_ms = frame_ms
        self._ring = Columns(_LAYOUT_VERSION, {"value": ("f4", (RECENT, signals)), "frame": ("i8", (RECENT,))})

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        self._ring.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        """These services are gone."""
        self._ring.evict(rows)

    def keep(self, frame: ClosedFrame) -> None:
        """Remember this frame."""
        rows = len(frame.values)
        place = (frame.start // self._frame_ms) % RECENT
        self._ring["value"][:rows, place] = frame.values
        self._ring["frame"][:rows, place] = frame.end

    def of(self, row: int, column: int, before: int) -> list[float]:
        """Values of the frames that ended before this time (ms), oldest first."""
        ends = self._ring["frame"][row]
        order = np.argsort(ends, kind="stable")
        order = order[(ends[order] > before - RECENT * self._frame_ms) & (ends[order] < before)]
        values: list[float] = self._ring["value"][row, order, column].tolist()
        return values

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        return self._ring.snapshot()

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit."""
        self._ring.restore(state)
