"""The samples of many messages as three columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.points import Points

if TYPE_CHECKING:
    from pipeline.ingest.scan.scanner import Scanned

MANY = 32
"""From this many samples on a message's columns are arrays that are kept whole."""


class Columns:
    """Collects the points of many messages; single samples in lists, larger messages as the arrays they are."""

    def __init__(self) -> None:
        self._chunks: list[Points] = []
        self._index: list[int] = []
        self._ts: list[int] = []
        self._value: list[float] = []

    def add(self, points: Points) -> None:
        """Samples of one message."""
        if len(points.series) >= MANY:
            self._close()
            self._chunks.append(points)
        else:
            self._index.extend(points.series)
            self._ts.extend(points.ts)
            self._value.extend(points.value)

    def add_run(self, scanned: Scanned, begin: int, end: int) -> None:
        """Rows that the scanner found, from `begin` up to `end`."""
        if end > begin:
            self._close()
            self._chunks.append(Points(scanned.series[begin:end], scanned.ts[begin:end], scanned.value[begin:end]))

    def _close(self) -> None:
        if self._index:
            self._chunks.append(Points(self._index, self._ts, self._value))
            self._index, self._ts, self._value = [], [], []

    def arrays(self) -> Points:
        """All points, as arrays."""
        self._close()
        chunks = self._chunks or [Points((), (), ())]
        return Points(
            np.concatenate([np.asarray(chunk.series, dtype=np.int64) for chunk in chunks]),
            np.concatenate([np.asarray(chunk.ts, dtype=np.int64) for chunk in chunks]),
            np.concatenate([np.asarray(chunk.value, dtype=np.float64) for chunk in chunks]),
        )
