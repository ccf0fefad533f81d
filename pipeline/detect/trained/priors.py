"""Live priors: with what a new signal of a service starts warm, once it has a level of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.offline import priors
from models.online import warmth
from pipeline.registry.manifest import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from models.online.bank import Bank
    from pipeline.detect.trained.seats import Seating


class Priors:
    """The live version's priors, by column of a frame."""

    def __init__(self, seating: Seating, signals: Sequence[str]) -> None:
        self._seating = seating
        self._signals = tuple(signals)
        self._version = ""
        self._table = np.zeros((0, 0))
        self.started = 0
        """Series that began warm, since this worker has the partition."""

    def warm(self, bank: Bank, slots: npt.NDArray[np.int32], columns: npt.NDArray[np.int64], at: int) -> None:
        """Let the series among these that have just learned enough of their own start warm.

        slots int32[n], columns int64[n] of their signals; all have learned a sample at `at` ms.
        """
        found = self._seating.only(Kind.PRIORS)
        if found is None:
            return
        _, live = found
        if live.version != self._version:
            self._version, self._table = live.version, priors.table(live.estimator, self._signals)
        new = np.flatnonzero(bank.samples(slots) == warmth.OWN_SAMPLES)
        known = new[np.isfinite(self._table[columns[new]]).all(axis=1)]
        if len(known):
            bank.start_warm(slots[known], at, self._table[columns[known]])
            self.started += len(known)
