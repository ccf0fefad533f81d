"""The learner bank on signals: what deviates from what its service has taught."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.columns import Columns
from models.online.bank import Bank, BankSettings
from pipeline.detect.frame import ClosedFrame, Flag
from pipeline.records import Detector, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from models.contracts import Verdicts
    from pipeline.signals.definitions import Signal

_LAYOUT_VERSION = 1


class LearnedSignals:
    """One learner for each signal that a service has ever had a value of.

    After `judge`, `expected`, `lower`, `upper` and `score` hold the verdicts of that frame, float64[rows, signals].
    """

    def __init__(self, signals: Sequence[Signal], settings: BankSettings) -> None:
        self._bank = Bank(settings)
        self._floor = np.array([signal.floor for signal in signals])
        self._floor_share = np.array([signal.floor_share for signal in signals])
        self._worse = [signal.worse for signal in signals]
        # Bank slot + 1 of each cell; 0, as new, is none.
        self._cells = Columns(_LAYOUT_VERSION, {"slot": ("i4", (len(signals),))})
        self._used = 0
        self._free: list[int] = []

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        self._cells.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        """These services are gone."""
        slots = self._cells["slot"][rows]
        gone = np.sort(slots[slots > 0]) - 1
        self._bank.evict(gone.astype(np.int32))
        self._free = sorted({*self._free, *gone.tolist()}, reverse=True)
        self._cells.evict(rows)

    def judge(self, frame: ClosedFrame) -> Iterator[Flag]:
        """What the learners find abnormal in this frame, by more than the signal's floors."""
        has = ~np.isnan(frame.values)
        rows, columns = np.nonzero(has)
        self._clear(frame.values.shape)
        if not len(rows):
            return
        slots = self._slots(rows, columns)
        values = frame.values[rows, columns]
        verdicts = self._bank.score_learn(slots, np.full(len(slots), frame.end, dtype=np.int64), values)
        self._keep(rows, columns, verdicts)
        deviation = values - verdicts.expected
        floor = np.maximum(self._floor[columns], self._floor_share[columns] * np.abs(verdicts.expected))
        matters = verdicts.alarm & ~(np.abs(deviation) < floor)
        for at in np.flatnonzero(matters).tolist():
            column = int(columns[at])
            yield Flag(
                row=int(rows[at]),
                column=column,
                detector=Detector.LEARNED,
                severity=self._severity(column, float(deviation[at])),
                score=float(verdicts.score[at]),
                since=frame.end,
            )

    def _severity(self, column: int, deviation: float) -> Severity:
        worse = self._worse[column]
        hurts = worse == "both" or (worse == "up") == (deviation > 0)
        return Severity.WARNING if hurts else Severity.INFO

    def _clear(self, shape: tuple[int, ...]) -> None:
        self.score = np.zeros(shape)
        self.expected, self.lower, self.upper = (np.full(shape, np.nan) for _ in range(3))

    def _keep(self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], verdicts: Verdicts) -> None:
        self.score[rows, columns] = verdicts.score
        self.expected[rows, columns] = verdicts.expected
        self.lower[rows, columns] = verdicts.lower
        self.upper[rows, columns] = verdicts.upper

    def _slots(self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        cells = self._cells["slot"]
        for at in np.flatnonzero(cells[rows, columns] == 0).tolist():
            if self._free:
                slot = self._free.pop()
            else:
                slot = self._used
                self._used += 1
            cells[rows[at], columns[at]] = slot + 1
        self._bank.grow(self._used)
        return cells[rows, columns] - np.int32(1)

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        return {
            "used": np.array([self._used], dtype=np.int64),
            **{f"cells.{name}": part for name, part in self._cells.snapshot().items()},
            **{f"bank.{name}": part for name, part in self._bank.snapshot().items()},
        }

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit."""
        self._cells.restore({k.removeprefix("cells."): v for k, v in state.items() if k.startswith("cells.")})
        self._bank.restore({k.removeprefix("bank."): v for k, v in state.items() if k.startswith("bank.")})
        self._used = int(np.asarray(state["used"])[0])
        taken = set((self._cells["slot"][: self._cells.slots] - 1).ravel().tolist())
        self._free = [slot for slot in range(self._used - 1, -1, -1) if slot not in taken]
