"""Data that stopped: a finding of its own, never read as recovery."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.columns import Columns
from pipeline.detect.frame import WHOLE_SERVICE, ClosedFrame, Flag
from pipeline.records import Detector, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

_LAYOUT_VERSION = 1
_USUAL_GAPS = 3.0
"""Silence is absence after so many of the usual gaps between two reports, for what reports seldom."""
_RATE = 0.1
_SEEN_BEFORE = 5


class AbsentData:
    """Watches every signal of every service, and each service as a whole.

    Silence for `after_ms`, and for three usual gaps of what reports seldom, is a finding once there were five
    reports. When a whole service is silent that one finding stands for all of its signals.
    """

    def __init__(self, signals: int, after_ms: int) -> None:
        self._after_ms = after_ms
        shape = (signals + 1,)
        self._state = Columns(_LAYOUT_VERSION, {"seen": ("i8", shape), "gap": ("f4", shape), "count": ("i4", shape)})

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        self._state.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        """These services are gone."""
        self._state.evict(rows)

    def judge(self, frame: ClosedFrame) -> Iterator[Flag]:
        """What is silent at the end of this frame."""
        rows = len(frame.values)
        reported = np.column_stack([frame.reported, frame.sampled])
        seen, gap, count = (self._state[name][:rows] for name in ("seen", "gap", "count"))
        again = reported & (count > 0)
        gap[again] += _RATE * ((frame.end - seen[again]) - gap[again])
        seen[reported] = frame.end
        count[reported] += 1
        limit = np.maximum(self._after_ms, _USUAL_GAPS * gap)
        silent = (count >= _SEEN_BEFORE) & (frame.end - seen >= limit) & frame.alive[:, np.newaxis]
        for row in np.flatnonzero(silent.any(axis=1)).tolist():
            columns = [WHOLE_SERVICE] if silent[row, -1] else np.flatnonzero(silent[row, :-1]).tolist()
            for column in columns:
                yield Flag(
                    row=row,
                    column=column,
                    detector=Detector.ABSENT,
                    severity=Severity.WARNING,
                    score=1.0,
                    since=int(seen[row, column]),
                )

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        return self._state.snapshot()

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit."""
        self._state.restore(state)
