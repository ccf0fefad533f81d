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
        self._runs, self._sizes = array("q"), array("q")

    def add(self, frame: Frame, labelled: Labelled) -> None:
        """One more."""
        hashed, before, after = frame
        self._text += hashed + before + after + labelled.text
        self._runs.extend((len(hashed), len(before), len(after), 1, 0, labelled.partition))
        self._sizes.append(len(labelled.text))
        if len(self._sizes) >= _TOGETHER:
            self._place()

    def _place(self) -> None:
        runs, sizes = (np.frombuffer(each, dtype=np.int64) for each in (self._runs, self._sizes))
        found = self._catalog.series.place_all(self._text, runs.reshape(-1, 6), sizes)
        self._series.frombytes(found.data.cast("B"))
        self._clear()

    def placed(self) -> npt.NDArray[np.int64]:
        """Indexes in the catalog of all that were added, int64[n]."""
        if self._sizes:
            self._place()
        return np.frombuffer(self._series, dtype=np.int64)
