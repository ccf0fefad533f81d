"""Live bands: features of the signals that a band needs, frame by frame, and what each version makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from models.offline.band_features import BandFeatures
from models.offline.bands import Bands, Judged

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy.typing as npt

    from pipeline.detect.frame import ClosedFrame
    from pipeline.detect.trained.seats import Scorer

    Floats = npt.NDArray[np.float64]
    Signals = tuple[str, ...]

_IDLE = 1
"""Choices of signals that are followed beyond those that a band needs now: who comes back is warm."""


class LiveBands:
    """Running features by choice of signals, rows are services; bands by version.

    Features are the whole state: bands are predicted from them, again after a restart.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._features: dict[Signals, BandFeatures] = {}
        self._away: dict[Signals, Floats] = {}
        self._bands: dict[str, Bands] = {}

    def __len__(self) -> int:
        return len(self._features)

    def keep(self, wanted: Collection[Scorer]) -> None:
        """Follow the signals of these versions, and a choice that was followed before."""
        signals = {one.signals for one in wanted}
        for new in sorted(signals - self._features.keys()):
            self._features[new] = BandFeatures(0, len(new))
        idle = [one for one in self._features if one not in signals]
        for one in idle[: max(0, len(idle) - _IDLE)]:
            del self._features[one]
        self._bands = {one.version: self._bands.get(one.version) or Bands(one.estimator) for one in wanted}

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        for features in self._features.values():
            features.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        """These services are gone."""
        for features in self._features.values():
            features.evict(rows[rows < features.services])
        for bands in self._bands.values():
            bands.forget()

    def advance(self, frame: ClosedFrame) -> None:
        """The next frame, which is learned."""
        for signals, features in self._features.items():
            values = frame.values[:, self.columns(signals)]
            self._away[signals] = features.advance(values, frame.start, frame.end - frame.start)

    def away(self, scorer: Scorer) -> Floats:
        """The frame's values in the scale of this version's features, which must be kept, float64[rows, signals]."""
        return self._away[scorer.signals]

    def judge(self, scorer: Scorer, away: Floats, meant: npt.NDArray[np.bool_] | None) -> Judged:
        """What this version, which must be kept, makes of these values of the frame; columns are its signals.

        meant bool[rows]: the services that it is for; None: all of them.
        """
        return self._bands[scorer.version].judge(self._features[scorer.signals], away, meant)

    def columns(self, signals: Signals) -> npt.NDArray[np.int64]:
        """The signals' columns in a frame."""
        return np.array([self._names.index(signal) for signal in signals], dtype=np.int64)

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        return {
            f"{'/'.join(signals)}|{name}": part
            for signals, features in self._features.items()
            for name, part in features.snapshot().items()
        }

    def restore(self, state: Mapping[str, Mapping[str, npt.NDArray[np.generic]]], wanted: Collection[Scorer]) -> None:
        """Become what gave this snapshot, its arrays by choice and name. Raises ValueError where it does not fit."""
        self._features, self._bands = {}, {}
        for joined, kept in state.items():
            signals = tuple(joined.split("/"))
            features = BandFeatures(len(kept["mean"]), len(signals))
            if features.keeps(kept):
                features.restore(kept)
            self._features[signals] = features
        self.keep(wanted)


class Told:
    """Bands as frames tell them, in JSON: made once, as they stay the same for some frames."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Floats, dict[int, msgspec.Raw]]] = {}

    def of(self, model: str, signals: Signals, band: Floats | None, row: int) -> msgspec.Raw | None:
        """Lower end, middle and upper end of each signal of a service row that has any; band float64[rows, signals, 3].

        None for a model that has no bands.
        """
        if band is None:
            return None
        if model not in self._made or self._made[model][0] is not band:
            self._made[model] = (band, {})
        _, rows = self._made[model]
        if row not in rows:
            told = zip(signals, np.isfinite(band[row]).all(axis=1).tolist(), band[row].tolist(), strict=True)
            rows[row] = msgspec.Raw(msgspec.json.encode({signal: ends for signal, there, ends in told if there}))
        return rows[row]
