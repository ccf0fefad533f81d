"""What a version says of the services in a frame, and the flags that come of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from models.offline.bands import LOWER, MIDDLE, UPPER
from pipeline.detect.frame import TOGETHER, ClosedFrame, Contributor, Flag
from pipeline.records import Detector, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from pipeline.detect.trained.seats import Scorer

    Floats = npt.NDArray[np.float64]

BAR: Final = 0.5
"""Share of abnormality from which on there is an alarm: the model's threshold."""
_NAMED: Final = 5
"""Signals that an anomaly names, those with the largest shares …"""
_LEAST_SHARE: Final = 0.1
"""… but none with less."""


class Opinion(NamedTuple):
    """Of one version: columns are its signals.

    score float64[rows] from 0 to 1, NaN while warming up; away float64[rows, signals], how far each signal is from the
    usual, by the model's features or in halves of its band; band float64[rows, signals, 3] in the signals' units, None
    for a model that has none.
    """

    score: Floats
    away: Floats
    band: Floats | None = None


class Flags:
    """Makes flags of opinions; `names` and `worse` are the signals of a frame, and the direction that hurts."""

    def __init__(self, names: Sequence[str], worse: Sequence[str]) -> None:
        self._column = {name: column for column, name in enumerate(names)}
        self._worse = list(worse)

    def of(self, name: str, scorer: Scorer, frame: ClosedFrame, opinion: Opinion) -> Iterator[Flag]:
        """Services that this version of the model finds abnormal."""
        for row in np.flatnonzero(opinion.score >= BAR).tolist():
            contributors, severity = self._contributors(scorer.signals, opinion, row, frame.values[row])
            yield Flag(
                row=row,
                column=TOGETHER,
                detector=Detector.TRAINED,
                severity=severity,
                score=float(opinion.score[row]),
                since=frame.end,
                rule=f"{name} {scorer.version}",
                contributors=contributors,
            )

    def _contributors(
        self, signals: tuple[str, ...], opinion: Opinion, row: int, values: Floats
    ) -> tuple[tuple[Contributor, ...], Severity]:
        """Signals by their share of the squared distances from the usual; a warning where a named one hurts."""
        away = np.nan_to_num(opinion.away[row])
        shares = away**2 / max(float((away**2).sum()), 1e-12)
        named = [at for at in np.argsort(-shares, kind="stable")[:_NAMED].tolist() if shares[at] >= _LEAST_SHARE]
        columns = [self._column[signals[at]] for at in named]
        found = tuple(
            _contributor(signals[at], float(shares[at]), float(values[column]), _ends(opinion.band, row, at))
            for at, column in zip(named, columns, strict=True)
            if np.isfinite(values[column])
        )
        hurts = any(
            self._worse[column] == "both" or (self._worse[column] == "up") == (away[at] > 0)
            for at, column in zip(named, columns, strict=True)
        )
        return found, Severity.WARNING if hurts else Severity.INFO


def _contributor(signal: str, share: float, observed: float, ends: list[float]) -> Contributor:
    return Contributor(signal, share, observed, ends[MIDDLE], ends[LOWER], ends[UPPER])


def _ends(band: Floats | None, row: int, at: int) -> list[float]:
    if band is None:
        return [float("nan")] * 3
    found: list[float] = band[row, at].tolist()
    return found
