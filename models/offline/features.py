"""Features of a service's signals, frame by frame: the one code that training, evaluation and live scoring use.

A signal that leaves its own range is what the online learners find. What they cannot see is that signals which move
together do so no more, each in its usual range: latency as at noon, traffic as at night. So a feature says how far a
signal is from what the others of its service let expect. With running means m and running mean absolute deviations d
of the frames before this one (exponentially weighted, rate max(1/n, RATE)), for each signal x of each service

    u = asinh(x / (SMALL mean|x|))            nearly the logarithm: what moves by a power of the load moves in a line
    z = (u - m(u)) / (1.5 d(u) + FLOOR)
    f = sum over the others (w z) / sum over the others (w^2)           what drives them: one factor, as they tell it;
                                              with z within -CLIP to CLIP
    w = mean(z f) / (mean(f^2) + RIDGE)       the signal's share in it; in f the mean of w^2 is 1, and all are 1 while
                                              the service is new
    e = (z - w f) / (1.5 d(z - w f) + NOISE)  within -CLIP to CLIP

and the feature is the mean of e over the last few frames, weighted exponentially (rate RECENT). That is factor analysis
with one factor, each signal left out of what it is judged by. A frame is judged by what was known before it, then
learned, a frame far off as if it were CLIP off, so that trouble does not become the measure. A signal without a
value is 0 in all: as expected, and nothing is learned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from models.contracts import Float64s

VERSION: Final = 2
"""Of the formulas above; a model trained on another version is not used."""
WARMUP: Final = 60
"""Frames that a service must have had before its features count."""
RATE: Final = 0.002
RECENT: Final = 0.2
SMALL: Final = 0.1
FLOOR: Final = 0.01
NOISE: Final = 0.02
RIDGE: Final = 0.05
CLIP: Final = 4.0
USUAL: Final = 0.35
"""Standard deviation of a feature of a service that is as usual: that of e, over about three."""
_MOST: Final = 2.0
"""Largest share in the factor."""
_YOUNG: Final = 30
"""Frames until shares are learned."""
_TINY: Final = 1e-9


def names_of(signals: Sequence[str]) -> tuple[str, ...]:
    """Names of the features, in their order."""
    return tuple(f"{signal}{_SUFFIX}" for signal in signals)


def signals_of(names: Sequence[str]) -> tuple[str, ...]:
    """The signals whose features have these names, in their order; `names_of` gives the names back."""
    return tuple(name.removesuffix(_SUFFIX) for name in names)


_SUFFIX: Final = ":apart"


class Features:
    """Running state for so many services (rows) and signals (columns), all float64[services, signals]."""

    def __init__(self, services: int, signals: int) -> None:
        self._shape = (services, signals)
        for name in _STATE:
            setattr(self, f"_{name}", np.zeros(self._shape if name != "frames" else services))

    _size: Float64s
    """mean|x|"""
    _mean: Float64s
    """m(u)"""
    _deviation: Float64s
    """d(u)"""
    _shared: Float64s
    """mean(z f)"""
    _driven: Float64s
    """mean(f^2)"""
    _noise: Float64s
    """d(z - w f)"""
    _apart: Float64s
    """The features of the frame before."""
    _count: Float64s
    """Values so far."""
    _frames: Float64s
    """float64[services]: frames with any value."""

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
        """Features float64[services, signals] of one frame; rows of NaN for services that are warming up.

        values float64[services, signals], NaN where a signal has no value. Raises ValueError for another shape.
        """
        if values.shape != self._shape:
            raise ValueError(f"values of shape {values.shape} are not those of {self._shape} services and signals")
        there = np.isfinite(values)
        known = there & (self._count > 0)
        size = np.abs(np.where(there, values, 0.0))
        line = np.arcsinh(np.where(there, values, 0.0) / (SMALL * np.where(known, self._size, size) + _TINY))
        scale, noise = 1.5 * self._deviation + FLOOR, 1.5 * self._noise + NOISE
        distance = np.where(known, line - self._mean, 0.0) / scale
        z = np.clip(distance, -CLIP, CLIP)
        factor, share = self._factor(z, known)
        now = np.clip(np.where(known, distance - share * factor, 0.0) / noise, -CLIP, CLIP)
        self._count += there
        rate = np.where(there, np.maximum(1.0 / np.maximum(self._count, 1.0), RATE), 0.0)
        self._apart += RECENT * (now - self._apart)
        most = np.where(known & (self._size > 0), 2 * self._size, size)
        self._size += np.where(known, rate, there) * (np.minimum(size, most) - self._size)
        self._mean = np.where(there & ~known, line, self._mean + rate * z * scale)
        self._deviation += rate * (np.abs(z) * scale - self._deviation)
        self._shared += rate * (z * factor - self._shared)
        self._driven += rate * (factor * factor - self._driven)
        self._noise += rate * (np.abs(now) * noise - self._noise)
        has_any = there.any(axis=1)
        features = self._apart.copy()
        features[~(has_any & (self._frames >= WARMUP))] = np.nan
        self._frames += has_any
        return features

    def _factor(self, z: Float64s, known: npt.NDArray[np.bool_]) -> tuple[Float64s, Float64s]:
        """What the other signals say of what drives them all, and each signal's share in it."""
        learned = np.clip(self._shared / (self._driven + RIDGE), -_MOST, _MOST)
        weight = np.where(known, np.where(self._count < _YOUNG, 1.0, learned), 0.0)
        # Only their proportions are meant: else factor and shares could grow and shrink against each other for ever.
        size = np.sqrt((weight * weight).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1))
        weight /= np.maximum(size, _TINY)
        said, told = weight * z, weight * weight
        others = np.maximum(told.sum(axis=1, keepdims=True) - told, _TINY)
        factor = np.clip((said.sum(axis=1, keepdims=True) - said) / others, -CLIP, CLIP)
        return factor, learned

    @staticmethod
    def keeps(state: Mapping[str, object]) -> bool:
        """Whether a snapshot is of this version of the features: else one begins anew."""
        return set(state) == set(_STATE)

    def snapshot(self) -> dict[str, npt.NDArray[np.float64]]:
        """Copy of the whole state."""
        return {name: getattr(self, f"_{name}").copy() for name in _STATE}

    def restore(self, state: Mapping[str, npt.NDArray[np.float64]]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit."""
        if not self.keeps(state) or state["mean"].shape != self._shape:
            raise ValueError("the snapshot is of other services, signals or another version of the features")
        for name in _STATE:
            setattr(self, f"_{name}", np.array(state[name]))


_STATE: Final = ("size", "mean", "deviation", "shared", "driven", "noise", "apart", "count", "frames")


def of_cube(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Features float64[t, services, signals] of frames float64[t, services, signals], one frame after the other."""
    frames, services, signals = values.shape
    features, running = np.empty((frames, services, signals)), Features(services, signals)
    for at in range(frames):
        features[at] = running.advance(values[at])
    return features
