"""Population stability: how far the values of features have moved from those that a model was trained on.

The index of a feature compares its shares of values by bin, a now and e then (Siddiqi, Credit Risk Scorecards, 2006):

    PSI = sum over bins of (a - e) ln(a / e)

Below 0.1 nothing has changed, from 0.25 on much has. The bins are the same for all features, which are scaled alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Counts = npt.NDArray[np.int64]

_EDGES: Final = np.array([-2.5, -1.5, -1.0, -0.5, -0.1, 0.1, 0.5, 1.0, 1.5, 2.5])
BINS: Final = len(_EDGES) + 1
MOVED: Final = 0.25
"""Index from which on a feature is another one than it was."""
MOVED_SHARE: Final = 0.25
"""Of a model's features, that have moved where what it was trained on is no longer what there is."""
_PARTS: Final = 3
_BEYOND: Final = 2.0
_LEAST: Final = 1e-4
"""Share of an empty bin: its logarithm must stay finite."""
_DECIMALS: Final = 5


def counted(features: Floats) -> Counts:
    """Values by bin, int64[features, BINS], of features float64[n, features]; NaN is left out."""
    width = features.shape[1]
    places = np.searchsorted(_EDGES, features, side="right") + BINS * np.arange(width)
    return np.bincount(places[np.isfinite(features)], minlength=width * BINS).reshape(width, BINS)


def shares(counts: Counts) -> tuple[tuple[float, ...], ...]:
    """The same as shares of each feature's values, as a manifest keeps them."""
    found = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return tuple(tuple(row) for row in np.round(found, _DECIMALS).tolist())


class Spread(NamedTuple):
    """What a model was fitted on: shares by bin, float64[features, BINS], and how far parts of it lie from the whole.

    wander: the largest index of a feature in a part, float64[features].
    """

    shares: Floats
    wander: Floats


def spread(features: Floats) -> Spread:
    """Of rows float64[n, features] in order of time: the parts are thirds of them."""
    usual = np.array(shares(counted(features)))
    thirds = np.array_split(features, _PARTS)
    return Spread(usual, np.max([indices(counted(third), usual) for third in thirds], axis=0))


def moved_share(counts: Counts, then: Spread) -> float:
    """Share of the features that are spread otherwise than in what a model was fitted on, 0 to 1.

    Otherwise is an index of `MOVED` or more that is also `_BEYOND` times as large as what parts of that time have
    among themselves: half a day differs from two days in many features, and nothing has moved.
    """
    return float((indices(counts, then.shares) >= np.maximum(MOVED, _BEYOND * then.wander)).mean())


def indices(counts: Counts, then: Floats) -> Floats:
    """Index of each feature, float64[features]; `then` are the shares in training, float64[features, BINS]."""
    now = np.maximum(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), _LEAST)
    usual = np.maximum(then, _LEAST)
    found: Floats = ((now - usual) * np.log(now / usual)).sum(axis=1)
    return found
