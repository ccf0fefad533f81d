"""Features of a service's signals, frame by frame: the one code that training, evaluation and live scoring use.

Each signal x of each service is scaled by what that service has shown before: with the running mean m and the running
mean absolute deviation d of the frames before this one (exponentially weighted, rate max(1/n, RATE)),

    z = asinh((x - m) / (1.5 d + FLOOR |m| + tiny))

Two features a signal: z, and by how much z has changed since the frame before. A frame is judged by what was known
before it, then learned. A signal without a value is 0 in both: as expected, and nothing is learned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from models.contracts import Float64s

VERSION: Final = 1
"""Of the formulas above; a model trained on another version is not used."""
WARMUP: Final = 60
"""Frames that a service must have had before its features count."""
RATE: Final = 0.002
FLOOR: Final = 0.01
_TINY: Final = 1e-9


def names_of(signals: Sequence[str]) -> tuple[str, ...]:
    """Names of the features, in their order."""
    return (*signals, *(f"{signal}:change" for signal in signals))


class Features:
    """Running state for so many services (rows) and signals (columns), all float64[services, signals]."""

    def __init__(self, services: int, signals: int) -> None:
        self._shape = (services, signals)
        self._mean = np.zeros(self._shape)
        self._deviation = np.zeros(self._shape)
        self._count = np.zeros(self._shape)
        self._before = np.zeros(self._shape)
        self._frames = np.zeros(services)

    @property
    def services(self) -> int:
        """How many services there is room for."""
        return self._shape[0]

    def grow(self, services: int) -> None:
        """Make room for services below `services`; the new ones are as new."""
        more = services - self._shape[0]
        if more <= 0:
            return
        self._shape = (services, self._shape[1])
        for name in _STATE:
            kept = getattr(self, f"_{name}")
            setattr(self, f"_{name}", np.concatenate([kept, np.zeros((more, *kept.shape[1:]))]))

    def evict(self, services: npt.NDArray[np.int32]) -> None:
        """These services are gone: their rows are as new."""
        for name in _STATE:
            getattr(self, f"_{name}")[services] = 0.0

    def advance(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Features float64[services, 2 * signals] of one frame; rows of NaN for services that are warming up.

        values float64[services, signals], NaN where a signal has no value. Raises ValueError for another shape.
        """
        if values.shape != self._shape:
            raise ValueError(f"values of shape {values.shape} are not those of {self._shape} services and signals")
        there = np.isfinite(values)
        known = there & (self._count > 0)
        scale = 1.5 * self._deviation + FLOOR * np.abs(self._mean) + _TINY
        away = np.where(known, values - self._mean, 0.0)
        z = np.arcsinh(away / scale)
        features = np.hstack([z, np.where(known, z - self._before, 0.0)])
        self._learn(values, there, away, z)
        has_any = there.any(axis=1)
        features[~(has_any & (self._frames >= WARMUP))] = np.nan
        self._frames += has_any
        return features

    def _learn(self, values: Float64s, there: npt.NDArray[np.bool_], away: Float64s, z: Float64s) -> None:
        first = there & (self._count == 0)
        self._count += there
        rate = np.where(there, np.maximum(1.0 / np.maximum(self._count, 1.0), RATE), 0.0)
        self._mean = np.where(first, np.where(there, values, 0.0), self._mean + rate * away)
        self._deviation += rate * (np.abs(away) - self._deviation)
        self._before = np.where(there, z, self._before)

    def snapshot(self) -> dict[str, npt.NDArray[np.float64]]:
        """Copy of the whole state."""
        return {name: getattr(self, f"_{name}").copy() for name in _STATE}

    def restore(self, state: Mapping[str, npt.NDArray[np.float64]]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit."""
        if set(state) != set(_STATE) or state["mean"].shape != self._shape:
            raise ValueError("the snapshot is of other services, signals or another version of the features")
        for name in _STATE:
            setattr(self, f"_{name}", np.array(state[name]))


_STATE: Final = ("mean", "deviation", "count", "before", "frames")


def of_cube(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Features float64[t, services, 2 * signals] of frames float64[t, services, signals], one frame after the other."""
    frames, services, signals = values.shape
    features, running = np.empty((frames, services, 2 * signals)), Features(services, signals)
    for at in range(frames):
        features[at] = running.advance(values[at])
    return features
