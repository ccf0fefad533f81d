"""The expected bands of a trained estimator, and how far values are beyond them: of training, evaluation and detect.

How far a value is away: its distance from the middle of its band, in widths of that half of the band which it lies in;
1 is the upper end, -1 the lower one. How abnormal a service is: the largest of its signals' distances.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from models.offline.band_features import BandFeatures
from models.offline.scoring import predicted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

LOWER, MIDDLE, UPPER = 0, 1, 2
ENDS: Final = 3
_NARROWEST: Final = 0.05
"""Half of a band, in deviations of the signal, where it was fitted narrower: what never changed will, a little."""
_DECIMALS: Final = 9


class Judged(NamedTuple):
    """Of one frame: how far each signal is away, float64[services, signals], NaN where there is no band or no value.

    band float64[services, signals, 3] in the signals' units: lower end, middle, upper end; NaN where there is none.
    wanted bool[services]: whether any signal has a value that is to be judged.
    """

    cells: Floats
    band: Floats
    wanted: npt.NDArray[np.bool_]

    def services(self) -> Floats:
        """How abnormal each service is, float64[services]; NaN where none of its signals is judged."""
        return np.asarray(np.fmax.reduce(np.abs(self.cells), axis=1))


class Bands:
    """The bands of one estimator over one state of features: predicted when a slot begins, and kept for it."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator
        self._slot = -1
        self._ends = np.zeros((0, 0, ENDS))
        self._in_units: Floats | None = None

    def forget(self) -> None:
        """Services are gone: their rows have no bands any more."""
        self._in_units = None

    def judge(self, features: BandFeatures, away: Floats, meant: npt.NDArray[np.bool_] | None = None) -> Judged:
        """The frame that these features have just taken in; `away` is what they said of it.

        meant bool[services]: whom there are bands for at all, from the next slot on; None: for everybody. The array of
        bands is the same one, until any of them changes.
        """
        if features.slot != self._slot:
            table = features.table()
            if meant is not None:
                table[~meant] = np.nan  # else it would be predicted for others too, which costs as much
            self._ends, self._slot, self._in_units = ends(self._estimator, table), features.slot, None
        if len(self._ends) < len(away):
            # Services that came since have no band before the next slot.
            new = np.full((len(away) - len(self._ends), *self._ends.shape[1:]), np.nan)
            self._ends, self._in_units = np.concatenate([self._ends, new]), None
        if self._in_units is None:
            self._in_units = features.in_units(self._ends)
        return Judged(beyond(away, self._ends), self._in_units, np.asarray(np.isfinite(away).any(axis=1)))


def ends(estimator: Any, table: Floats) -> Floats:
    """Lower end, middle and upper end in the signals' own scale, in order: float64[services, signals, 3].

    NaN where the table is NaN as a whole: there is no band.
    """
    found = np.full((*table.shape[:2], ENDS), np.nan)
    known = ~np.isnan(table).all(axis=2)
    if known.any():
        found[known] = np.sort(predicted(estimator, table[known]), axis=1)
    return found


def beyond(away: Floats, band: Floats) -> Floats:
    """How far each value is away, as the module says; away float64[…], band float64[…, 3], both in the same scale."""
    distance = away - band[..., MIDDLE]
    half = np.where(distance > 0, band[..., UPPER] - band[..., MIDDLE], band[..., MIDDLE] - band[..., LOWER])
    return np.asarray(np.round(distance / np.maximum(half, _NARROWEST), _DECIMALS))


def of_cube(
    estimators: Sequence[Any],
    values: Floats,
    start: npt.NDArray[np.int64],
    step_ms: int,
    part: slice,
    usual: Floats | None = None,
) -> Floats:
    """How abnormal each estimator finds services in the frames of `part`, float64[t, services, estimators]; else NaN.

    values float64[t, services, signals], start int64[t] ms: all frames are learned, as live; usual, as the values: see
    `BandFeatures.advance`.
    """
    frames, services, signals = values.shape
    found = np.full((frames, services, len(estimators)), np.nan)
    features, bands = BandFeatures(services, signals), [Bands(one) for one in estimators]
    wanted = range(frames)[part]
    for at in range(wanted.stop):
        away = features.advance(values[at], int(start[at]), step_ms, None if usual is None else usual[at])
        if at >= wanted.start:
            for column, band in enumerate(bands):
                found[at, :, column] = band.judge(features, away).services()
    return found
