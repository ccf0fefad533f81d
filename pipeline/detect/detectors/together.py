"""All signals of a service taken together: what is odd about them though each alone may be as ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.multivariate.learner import Multivariate, MultivariateSettings
from pipeline.detect.frame import TOGETHER, ClosedFrame, Contributor, Flag
from pipeline.records import Detector, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from pipeline.detect.detectors.learned import LearnedSignals
    from pipeline.signals.definitions import Signal

BAR = 0.5
"""Score from which on there is an alarm, at first; see `models.multivariate.calibration`."""
_NAMED = 5
"""Signals that an anomaly names, those with the largest shares …"""
_LEAST_SHARE = 0.1
"""… but none with less."""


class SignalsTogether:
    """One vector a service and frame: how far each signal is from what its learner expected.

    After `judge`, `score` holds how odd each service was, float64[rows]; 0 where it was not judged.
    """

    def __init__(self, signals: Mapping[str, Signal], learned: LearnedSignals, settings: MultivariateSettings) -> None:
        self._names = list(signals)
        self._learned = learned
        self._settings = settings
        self._floor = np.array([signal.floor for signal in signals.values()])
        self._floor_share = np.array([signal.floor_share for signal in signals.values()])
        self._worse = [signal.worse for signal in signals.values()]
        self._learner = Multivariate(self._names, settings)
        self.score = np.zeros(0)

    @property
    def failures(self) -> Mapping[str, int]:
        """How often a model raised and was made new, by the error's type."""
        return self._learner.failures

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        self._learner.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        """These services are gone."""
        self._learner.evict(rows)

    def judge(self, frame: ClosedFrame) -> Iterator[Flag]:
        """Services whose signals together are odd; after the learners have judged each."""
        expected = self._learned.expected
        deviation = frame.values - expected
        self.score = np.zeros(len(deviation))
        rows = np.flatnonzero(frame.alive & ~np.isnan(deviation).all(axis=1)).astype(np.int32)
        if not len(rows):
            return
        # An older snapshot knows nothing of this detector.
        self._learner.grow(len(deviation))
        least = np.maximum(self._floor, self._floor_share * np.abs(expected[rows]))
        verdicts = self._learner.score_learn(rows, deviation[rows], least)
        self.score[rows] = verdicts.score
        for at in np.flatnonzero(verdicts.alarm).tolist():
            row = int(rows[at])
            contributors = self._contributors(verdicts.contributions[at], frame.values[row], expected[row])
            yield Flag(
                row=row,
                column=TOGETHER,
                detector=Detector.MULTIVARIATE,
                severity=self._severity(contributors),
                score=float(verdicts.score[at]),
                since=frame.end,
                contributors=contributors,
            )

    def _contributors(
        self, shares: npt.NDArray[np.float64], values: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]
    ) -> tuple[Contributor, ...]:
        largest = np.argsort(-shares, kind="stable")[:_NAMED].tolist()
        return tuple(
            Contributor(self._names[column], float(shares[column]), float(values[column]), float(expected[column]))
            for column in largest
            if shares[column] >= _LEAST_SHARE and np.isfinite(values[column])
        )

    def _severity(self, contributors: tuple[Contributor, ...]) -> Severity:
        """A warning where a named signal moved in the direction in which it hurts."""
        for one in contributors:
            worse = self._worse[self._names.index(one.signal)]
            if worse == "both" or (worse == "up") == (one.observed > one.expected):
                return Severity.WARNING
        return Severity.INFO

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        return self._learner.snapshot()

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot; as new where there is none, or it is of another scorer.

        Raises ValueError where it does not fit.
        """
        self._learner = Multivariate(self._names, self._settings)
        if self._learner.is_of(state):
            self._learner.restore(state)
