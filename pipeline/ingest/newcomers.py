"""Series that are to be placed in the catalog together: many at once take much less time than each by itself."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.ingest.catalog import Labelled, SeriesCatalog
    from pipeline.series import Frame


_TOGETHER = 512
"""So many at once: what they are called takes memory until they are placed."""


class Newcomers:
    """Collects series by what they are called."""

    def __init__(self, catalog: SeriesCatalog) -> None:
        self._catalog = catalog
        self._series = array("q")
        self._clear()

    def _clear(self) -> None:
        self._text = bytearray()
        self._spans = array("q")
        self._partition = array("q")
        self._last: Labelled | None = None

    def add(self, frame: Frame, labelled: Labelled) -> None:
        """One more."""
        text = self._text
        if labelled is not self._last:
            self._last, begin = labelled, len(text)
            text += labelled.text
            self._labels = (begin, len(text))
        begin = len(text)
        text += frame.hashed
        hashed_end = len(text)
        text += frame.before
        before_end = len(text)
        text += frame.after
        self._spans.extend((begin, hashed_end, before_end, len(text), *self._labels))
        self._partition.append(labelled.partition)
        if len(self._partition) >= _TOGETHER:
            self._place()

    def _place(self) -> None:
        spans = np.frombuffer(self._spans, dtype=np.int64).reshape(-1, 6)
        partition = np.frombuffer(self._partition, dtype=np.int64)
        self._series.frombytes(self._catalog.series.place_all(bytes(self._text), spans, partition).data.cast("B"))
        self._clear()

    def placed(self) -> npt.NDArray[np.int64]:
        """Indexes in the catalog of all that were added, int64[n]."""
        self._place()
        return np.frombuffer(self._series, dtype=np.int64)
