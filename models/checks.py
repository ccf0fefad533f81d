"""What every online learner must do, as functions that take `make_learner` and raise AssertionError.

A new learner is checked with `check_all(MyLearner)`; tests name the checks one by one.

    judging     shapes, score before learn, many at once equal one by one, cuts, series apart     (here)
    values      constant, huge, tiny, not finite; time that stands, jumps, is uneven              (here)
    state       snapshot, no aliasing, other and older versions, partial snapshots, evict, grow,
                compact, unknown slots, bounded memory                                            (check_state.py)

A learner of vectors (`VectorLearner`) takes part as `AsSeries`: each series becomes a vector of three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from models.check_state import (
    check_bounded_memory,
    check_compact,
    check_evict,
    check_grow,
    check_no_aliasing,
    check_older_snapshots,
    check_partial_snapshots,
    check_refuses_other_snapshots,
    check_refuses_unknown_slots,
    check_snapshot,
)
from models.check_streams import MINUTE, START, Samples, expect, fresh, one_series, run, same, stream
from models.contracts import Verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from models.check_streams import Check, MakeLearner
    from models.contracts import Float64s, Int32s, Int64s, VectorLearner


def check_shapes(make: MakeLearner) -> None:
    """Answers have the promised length and dtypes, for no samples too."""
    for samples in (stream(), stream().cut(slice(0))):
        verdicts = fresh(make).score_learn(*samples)
        n = len(samples.slots)
        for name, dtype in (("score", "f4"), ("alarm", "?"), ("expected", "f8"), ("lower", "f8"), ("upper", "f8")):
            column = getattr(verdicts, name)
            expect(column.shape == (n,), f"{name} has shape {column.shape} for {n} samples")
            expect(column.dtype == np.dtype(dtype), f"{name} is {column.dtype}")


def check_nothing(make: MakeLearner) -> None:
    """No samples before there is any series: no verdicts, and no error."""
    none = Samples(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0))
    expect(len(run(make(), none).score) == 0, "verdicts without samples")


def check_score_before_learn(make: MakeLearner) -> None:
    """A sample's own value does not move the expectation it is judged by, nor do later samples anything."""
    samples = stream(series=1)
    last = len(samples.slots) - 1
    usual = run(fresh(make, 1), samples)
    samples.values[last] += 1e6
    odd = run(fresh(make, 1), samples)
    for name in ("expected", "lower", "upper"):
        expect(np.array_equal(getattr(usual, name), getattr(odd, name), equal_nan=True), f"{name} saw its own sample")
    expect(bool(np.array_equal(usual.score[:last], odd.score[:last])), "a score saw a later sample")
    expect(bool(odd.score[last] > usual.score[last]), "a value a million away scores no higher")


def check_many_equals_one_by_one(make: MakeLearner) -> None:
    """All samples in one call give, bit for bit, what single calls give."""
    samples = stream()
    one_by_one = run(fresh(make), samples, range(1, len(samples.slots)))
    expect(same(run(fresh(make), samples), one_by_one), "one call and single calls differ")


def check_cuts(make: MakeLearner) -> None:
    """Where a stream is cut into calls changes nothing."""
    samples = stream(seed=1)
    rng = np.random.default_rng(1)
    whole = run(fresh(make), samples)
    for _ in range(5):
        cuts = rng.choice(len(samples.slots), size=4, replace=False)
        expect(same(whole, run(fresh(make), samples, cuts.tolist())), f"cuts at {sorted(cuts)} change an answer")


def check_series_apart(make: MakeLearner) -> None:
    """A series' answers do not depend on the other series, nor on its slot's number."""
    samples = stream(series=4, seed=2)
    mixed = run(fresh(make, 4), samples)
    rows = np.flatnonzero(samples.slots == 2)
    alone = run(fresh(make, 1), Samples(np.zeros(len(rows), np.int32), samples.ts[rows], samples.values[rows]))
    fields = type(mixed).__dataclass_fields__
    expect(same(type(mixed)(*(getattr(mixed, name)[rows] for name in fields)), alone), "series influence each other")


def check_values(make: MakeLearner) -> None:
    """Constant, huge, tiny and mixed values give scores in 0..1 and no half-known band."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=500)
    cases = {
        "constant": np.full(500, 7.0),
        "zero": np.zeros(500),
        "negative zero": np.full(500, -0.0),
        "huge": 1e308 * np.sign(noise),
        "tiny": 5e-324 * np.abs(np.round(noise)),
        "denormal noise": 1e-310 * noise,
        "from tiny to huge": np.where(np.arange(500) < 250, 1e-300, 1e300) * noise,
        "one step": np.where(np.arange(500) < 250, 0.0, 1.0),
        "large with small noise": 1e15 + noise,
    }
    for name, values in cases.items():
        check_answer(run(fresh(make, 1), one_series(values)), name)


def check_answer(verdicts: Verdicts, what: str) -> None:
    """Raise AssertionError where an answer breaks the contract of `Verdicts`."""
    expect(bool(np.all((verdicts.score >= 0) & (verdicts.score <= 1))), f"{what}: a score is outside 0..1")
    known = ~np.isnan(verdicts.expected)
    for name in ("lower", "upper"):
        expect(bool(np.array_equal(known, ~np.isnan(getattr(verdicts, name)))), f"{what}: NaN in part of a band")
    band = verdicts.lower[known], verdicts.expected[known], verdicts.upper[known]
    expect(bool(np.all(np.isfinite(band))), f"{what}: a band is not finite")
    expect(bool(np.all((band[0] <= band[1]) & (band[1] <= band[2]))), f"{what}: a band does not hold its middle")
    expect(not verdicts.alarm[~known].any(), f"{what}: alarm while warming up")
    expect(not verdicts.shape[~verdicts.alarm].any(), f"{what}: a shape without an alarm")
    expect(not verdicts.score[~known].any(), f"{what}: score while warming up")


def check_not_finite(make: MakeLearner) -> None:
    """NaN and infinities get no verdict and leave no trace."""
    samples = stream(series=1)
    usual = run(fresh(make, 1), samples)
    for value in (np.nan, np.inf, -np.inf):
        at = len(samples.slots) // 2
        odd = Samples(
            np.insert(samples.slots, at, 0),
            np.insert(samples.ts, at, samples.ts[at - 1] + 1),
            np.insert(samples.values, at, value),
        )
        found = run(fresh(make, 1), odd)
        expect(found.score[at] == 0 and not found.alarm[at], f"{value} has the score {found.score[at]}")
        left = np.delete(np.arange(len(odd.slots)), at)
        expect(bool(np.array_equal(found.score[left], usual.score)), f"{value} was learned")


def check_time(make: MakeLearner) -> None:
    """Gaps of a month, steps of one millisecond and of a day, and equal times do no harm."""
    rng = np.random.default_rng(0)
    cases = {
        "one millisecond": np.full(500, 1),
        "one day": np.full(500, 86_400_000),
        "month-long gap": np.where(np.arange(500) == 300, 30 * 86_400_000, MINUTE),
        "uneven": rng.integers(1, 10 * MINUTE, 500),
        "no time passes": np.zeros(500),
    }
    for name, steps in cases.items():
        values = rng.normal(100.0, 5.0, 500)
        samples = Samples(np.zeros(500, np.int32), START + np.cumsum(steps).astype(np.int64), values)
        check_answer(run(fresh(make, 1), samples), name)


@dataclass(slots=True)
class AsSeries:
    """A learner of vectors as one of series, for the checks: a value becomes a vector of three that move together.

    It has no band: what it expects is 0.
    """

    learner: VectorLearner

    @property
    def version(self) -> int:
        """The learner's."""
        return self.learner.version

    def grow(self, slots: int) -> None:
        """Make room."""
        self.learner.grow(slots)

    def evict(self, slots: Int32s) -> None:
        """Forget."""
        self.learner.evict(slots)

    def compact(self, keep: Int32s) -> None:
        """Move together."""
        self.learner.compact(keep)

    def score_learn(self, slots: Int32s, ts: Int64s, values: Float64s) -> Verdicts:
        """Judge the vectors of these values; times only shake them."""
        shake = np.sin(np.asarray(ts, np.float64)[:, np.newaxis] * np.array([1e-7, 3e-7, 7e-7]))
        vectors = values[:, np.newaxis] * np.array([1.0, -0.5, 0.25]) + shake
        found = self.learner.score_learn(slots, vectors, np.zeros(vectors.shape))
        band = np.zeros(len(slots))
        return Verdicts(
            found.score, found.alarm, band, band, band, np.zeros(len(slots), np.int8), np.zeros(len(slots), np.bool_)
        )

    def snapshot(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """The learner's."""
        return self.learner.snapshot()

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """The learner's."""
        self.learner.restore(state)


CHECKS: Final[tuple[Check, ...]] = (
    check_shapes,
    check_nothing,
    check_score_before_learn,
    check_many_equals_one_by_one,
    check_cuts,
    check_series_apart,
    check_values,
    check_not_finite,
    check_time,
    check_snapshot,
    check_no_aliasing,
    check_refuses_other_snapshots,
    check_older_snapshots,
    check_partial_snapshots,
    check_evict,
    check_grow,
    check_compact,
    check_refuses_unknown_slots,
    check_bounded_memory,
)
"""All checks, in the order in which a failure is easiest to understand."""


def check_all(make: MakeLearner) -> None:
    """Run every check; raises AssertionError at the first that fails."""
    for check in CHECKS:
        check(make)
