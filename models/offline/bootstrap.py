"""How sure a difference is: paired bootstrap over blocks of events (Efron & Tibshirani 1993, ch. 8 and 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from models.contracts import Float64s


class Interval(NamedTuple):
    """A difference and the ends of its 95 % interval."""

    difference: float
    low: float
    high: float


def f1_difference(new: Float64s, old: Float64s, rng: np.random.Generator, *, rounds: int = 1000) -> Interval:
    """F1 of `new` less that of `old`.

    Both float64[blocks, 4]: events found, events, right alarms, alarms; row i of both is the same block, a service's
    day for instance, and blocks are drawn together.
    """
    picks = rng.integers(0, len(new), size=(rounds, len(new)))
    differences = _f1(new[picks].sum(axis=1)) - _f1(old[picks].sum(axis=1))
    low, high = np.quantile(differences, (0.025, 0.975))
    whole = _f1(new.sum(axis=0, keepdims=True)) - _f1(old.sum(axis=0, keepdims=True))
    return Interval(float(whole[0]), float(low), float(high))


def _f1(table: Float64s) -> Float64s:
    found, events, right, episodes = table.T
    recall, precision = found / np.maximum(events, 1), right / np.maximum(episodes, 1)
    both: Float64s = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return both
