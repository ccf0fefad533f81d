"""What the checks feed a learner, and how they read its answers. Each stream comes from a seed, so failures repeat."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from models.contracts import Float64s, Int32s, Int64s, OnlineLearner, Verdicts

    MakeLearner = Callable[[], OnlineLearner]
    Check = Callable[[MakeLearner], None]

START: Final = 1_700_000_000_000
MINUTE: Final = 60_000


class Samples(NamedTuple):
    """A stream: slots int32[n], ts int64[n] ms, values float64[n]."""

    slots: Int32s
    ts: Int64s
    values: Float64s

    def cut(self, rows: slice) -> Samples:
        """Cut these rows out."""
        return Samples(self.slots[rows].copy(), self.ts[rows].copy(), self.values[rows].copy())


def stream(series: int = 3, length: int = 400, seed: int = 0) -> Samples:
    """Mix noise, a daily season, spikes and a gap over some series, interleaved at one sample a minute."""
    rng = np.random.default_rng(seed)
    minutes = np.arange(length) * 7 + np.where(np.arange(length) > length // 2, 500, 0)
    ts = np.repeat(START + minutes * MINUTE, series)
    slots = np.tile(np.arange(series, dtype=np.int32), length)
    day = np.sin(2 * np.pi * ts / 86_400_000)
    values = 50.0 + 10.0 * slots * day + rng.normal(0.0, 1.0, len(ts))
    values[rng.random(len(ts)) < 0.01] += 30.0
    return Samples(slots, ts.astype(np.int64), values)


def one_series(values: npt.ArrayLike, step_ms: int = MINUTE) -> Samples:
    """Make a stream of one series, in slot 0, from its values."""
    x = np.asarray(values, np.float64)
    return Samples(np.zeros(len(x), np.int32), START + np.arange(len(x), dtype=np.int64) * step_ms, x)


def run(learner: OnlineLearner, samples: Samples, cuts: Iterable[int] = ()) -> Verdicts:
    """Feed a stream, cut into several calls before the rows `cuts`, and join the answers."""
    edges = [0, *sorted(cuts), len(samples.slots)]
    parts = [learner.score_learn(*samples.cut(slice(a, b))) for a, b in pairwise(edges)]
    return type(parts[0])(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in type(parts[0]).__dataclass_fields__)
    )


def same(one: Verdicts, other: Verdicts) -> bool:
    """Tell whether two answers agree in every bit."""
    return all(
        getattr(one, name).dtype == getattr(other, name).dtype
        and getattr(one, name).tobytes() == getattr(other, name).tobytes()
        for name in type(one).__dataclass_fields__
    )


def expect(holds: bool, message: str) -> None:
    """Raise AssertionError with this message where it does not hold."""
    if not holds:
        raise AssertionError(message)


def fresh(make: MakeLearner, slots: int = 3) -> OnlineLearner:
    """Make a learner with room for so many series."""
    learner = make()
    learner.grow(slots)
    return learner
