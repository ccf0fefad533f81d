"""Features of trained models, made frame by frame for each choice of signals that a model needs, or needed of late."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from models.offline.features import Features

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_IDLE = 4
"""Choices of signals whose features are made, beyond those that a model needs now: who comes back is warm."""


class _Track(NamedTuple):
    """Features of some signals: their running state, and the signals' columns in a frame."""

    features: Features
    columns: npt.NDArray[np.int64]


class Tracks:
    """Running features by choice of signals; rows are services."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._tracks: dict[tuple[str, ...], _Track] = {}

    def __len__(self) -> int:
        return len(self._tracks)

    def keep(self, wanted: Collection[tuple[str, ...]]) -> None:
        """Follow these choices of signals, and a few that were followed before."""
        for signals in sorted(set(wanted) - self._tracks.keys()):
            self._tracks[signals] = self._new(signals)
        idle = [signals for signals in self._tracks if signals not in wanted]
        for signals in idle[: max(0, len(self._tracks) - _IDLE)]:
            del self._tracks[signals]

    def _new(self, signals: tuple[str, ...]) -> _Track:
        columns = np.array([self._names.index(signal) for signal in signals], dtype=np.int64)
        return _Track(Features(0, len(signals)), columns)

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        for track in self._tracks.values():
            track.features.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        """These services are gone."""
        for track in self._tracks.values():
            track.features.evict(rows[rows < track.features.services])

    def advance(self, values: Floats) -> dict[tuple[str, ...], Floats]:
        """Features of each choice in the frame with these values float64[rows, signals], which is learned."""
        return {signals: track.features.advance(values[:, track.columns]) for signals, track in self._tracks.items()}

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        return {
            f"{'/'.join(signals)}|{name}": part
            for signals, track in self._tracks.items()
            for name, part in track.features.snapshot().items()
        }

    def restore(self, state: Mapping[str, Mapping[str, npt.NDArray[np.generic]]]) -> None:
        """Become what gave this snapshot, its arrays by choice and name. Raises ValueError where it does not fit."""
        self._tracks = {}
        for joined, features in state.items():
            signals = tuple(joined.split("/"))
            track = self._new(signals)
            track.features.grow(len(features["frames"]))
            if track.features.keeps(features):
                track.features.restore(features)  # type: ignore[arg-type]  # all of them are float64
            self._tracks[signals] = track
