"""The learner bank on signals: what deviates from what its service has taught."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.contracts import Shape
from models.online.bank import Bank, BankSettings
from pipeline.detect.cells import Cells, part_of, prefixed
from pipeline.detect.frame import ClosedFrame, Flag
from pipeline.records import Detector, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from models.contracts import Verdicts
    from pipeline.detect.trained.priors import Priors
    from pipeline.signals.definitions import Signal


class LearnedSignals:
    """One learner for each signal that a service has ever had a value of.

    After `judge`, `expected`, `lower`, `upper` and `score` hold the verdicts of that frame, float64[rows, signals].
    """

    def __init__(self, signals: Sequence[Signal], settings: BankSettings, priors: Priors | None = None) -> None:
        self._bank = Bank(settings)
        self._floor = np.array([signal.floor for signal in signals])
        self._floor_share = np.array([signal.floor_share for signal in signals])
        self._worse = [signal.worse for signal in signals]
        self._cells = Cells(len(signals))
        self._priors = priors

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        self._cells.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        """These services are gone."""
        self._cells.evict(rows, self._bank)

    def judge(self, frame: ClosedFrame) -> Iterator[Flag]:
        """What the learners find abnormal in this frame, by more than the signal's floors."""
        has = ~np.isnan(frame.values)
        rows, columns = np.nonzero(has)
        self._clear(frame.values.shape)
        if not len(rows):
            return
        slots = self._cells.take(rows, columns)
        self._bank.grow(self._cells.slots)
        values = frame.values[rows, columns]
        verdicts = self._bank.score_learn(slots, np.full(len(slots), frame.end, dtype=np.int64), values)
        self._keep(rows, columns, verdicts)
        if self._priors is not None:
            self._priors.warm(self._bank, slots, columns, frame.end)
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
                shape=Shape(int(verdicts.shape[at])),
                settled=bool(verdicts.settled[at]),
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

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        return prefixed(cells=self._cells.snapshot(), bank=self._bank.snapshot())

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit."""
        self._cells.restore(part_of(state, "cells"))
        self._bank.restore(part_of(state, "bank"))
