"""The learner bank on raw series that no signal uses: gauges as they are, counters as rates, at their own cadence."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from models.columns import Columns
from models.online.bank import Bank, BankSettings
from models.slots import Slots, renumbered

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from models.contracts import Verdicts

_LAYOUT_VERSION = 1


class Watched(NamedTuple):
    """Samples that need a look: rows int64[k] of the batch, in order, and their verdicts' rows int64[k]."""

    rows: npt.NDArray[np.int64]
    at: npt.NDArray[np.int64]
    verdicts: Verdicts


class WatchedSeries:
    """One learner for each watched series, found by the series' slot."""

    def __init__(self, settings: BankSettings) -> None:
        self._bank = Bank(settings)
        # Bank slot + 1 by series slot (0, as new: not watched), and whether an anomaly of the series is open.
        self._columns = Columns(_LAYOUT_VERSION, {"slot": ("i4", ()), "open": ("?", ())})
        self._places = Slots()

    def __len__(self) -> int:
        return len(self._places)

    def grow(self, slots: int) -> None:
        """Make room for series slots below `slots`."""
        self._columns.grow(slots)

    def add(self, slot: int) -> None:
        """Watch the series in this slot."""
        place = self._places.take()
        self._bank.grow(self._places.used)
        self._columns["slot"][slot] = place + 1

    def mark(self, slot: int, *, is_open: bool) -> None:
        """Whether an anomaly of this series is open: then all of its samples need a look."""
        self._columns["open"][slot] = is_open

    def score(
        self, slots: npt.NDArray[np.int32], ts: npt.NDArray[np.int64], watched: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.int64], Verdicts]:
        """Score, then learn, the samples of watched series: their rows int64[k], in order, and the verdicts on them.

        slots int32[n] (-1: no series), ts int64[n] ms, watched float64[n] (NaN: nothing to watch).
        """
        rows = np.flatnonzero((slots >= 0) & ~np.isnan(watched))
        place = self._columns["slot"][slots[rows]] - np.int32(1)
        rows, place = rows[place >= 0], place[place >= 0]
        return rows, self._bank.score_learn(place, ts[rows], watched[rows])

    def judge(
        self, slots: npt.NDArray[np.int32], ts: npt.NDArray[np.int64], watched: npt.NDArray[np.float64]
    ) -> Watched:
        """As `score`; the samples of series in alarm or with an open anomaly: they need a look."""
        rows, verdicts = self.score(slots, ts, watched)
        series = slots[rows]
        # An alarm opens an anomaly for all that follows it here: polls that are cut elsewhere must say the same.
        at = np.flatnonzero(np.isin(series, series[verdicts.alarm]) | self._columns["open"][series])
        return Watched(rows=rows[at], at=at, verdicts=verdicts)

    def evict(self, slots: npt.NDArray[np.int32]) -> None:
        """These series are gone."""
        places = self._columns["slot"][slots]
        gone = (np.sort(places[places > 0]) - 1).astype(np.int32)
        self._bank.evict(gone)
        self._places.give_back(gone)
        self._columns.evict(slots)
        if self._places.is_sparse:
            keep = self._places.compact()
            place = self._columns["slot"][: self._columns.slots]
            place[...] = renumbered(place - np.int32(1), keep) + 1
            self._bank.compact(keep)

    def compact(self, keep: npt.NDArray[np.int32]) -> None:
        """The series in slot `keep[i]` has slot i now."""
        self._columns.compact(keep)

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        return {
            "used": np.array([self._places.used], dtype=np.int64),
            **{f"columns.{name}": part for name, part in self._columns.snapshot().items()},
            **{f"bank.{name}": part for name, part in self._bank.snapshot().items()},
        }

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit."""
        self._columns.restore({k.removeprefix("columns."): v for k, v in state.items() if k.startswith("columns.")})
        self._bank.restore({k.removeprefix("bank."): v for k, v in state.items() if k.startswith("bank.")})
        taken = self._columns["slot"][: self._columns.slots] - 1
        self._places.restore(int(np.asarray(state["used"])[0]), taken.tolist())
