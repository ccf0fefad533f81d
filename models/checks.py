"""What every online learner must do, as functions that take `make_learner` and raise AssertionError.

A new learner is checked with `check_all(MyLearner)`; tests name the checks one by one. Each check makes its
own input from a seed, so that a failure repeats.
"""

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

_START: Final = 1_700_000_000_000
_MINUTE: Final = 60_000


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
    ts = np.repeat(_START + minutes * _MINUTE, series)
    slots = np.tile(np.arange(series, dtype=np.int32), length)
    day = np.sin(2 * np.pi * ts / 86_400_000)
    values = 50.0 + 10.0 * slots * day + rng.normal(0.0, 1.0, len(ts))
    values[rng.random(len(ts)) < 0.01] += 30.0
    return Samples(slots, ts.astype(np.int64), values)


def one_series(values: npt.ArrayLike, step_ms: int = _MINUTE) -> Samples:
    """Make a stream of one series, in slot 0, from its values."""
    x = np.asarray(values, np.float64)
    return Samples(np.zeros(len(x), np.int32), _START + np.arange(len(x), dtype=np.int64) * step_ms, x)


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


def _expect(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def _fresh(make: MakeLearner, slots: int = 3) -> OnlineLearner:
    learner = make()
    learner.grow(slots)
    return learner


def check_shapes(make: MakeLearner) -> None:
    """Answers have the promised length and dtypes, for no samples too."""
    for samples in (stream(), stream().cut(slice(0))):
        verdicts = _fresh(make).score_learn(*samples)
        n = len(samples.slots)
        for name, dtype in (("score", "f4"), ("alarm", "?"), ("expected", "f8"), ("lower", "f8"), ("upper", "f8")):
            column = getattr(verdicts, name)
            _expect(column.shape == (n,), f"{name} has shape {column.shape} for {n} samples")
            _expect(column.dtype == np.dtype(dtype), f"{name} is {column.dtype}")


def check_score_before_learn(make: MakeLearner) -> None:
    """A sample's own value does not move the expectation it is judged by, nor do later samples anything."""
    samples = stream(series=1)
    last = len(samples.slots) - 1
    usual = run(_fresh(make, 1), samples)
    samples.values[last] += 1e6
    odd = run(_fresh(make, 1), samples)
    for name in ("expected", "lower", "upper"):
        _expect(np.array_equal(getattr(usual, name), getattr(odd, name), equal_nan=True), f"{name} saw its own sample")
    _expect(bool(np.array_equal(usual.score[:last], odd.score[:last])), "a score saw a later sample")
    _expect(bool(odd.score[last] > usual.score[last]), "a value a million away scores no higher")


def check_many_equals_one_by_one(make: MakeLearner) -> None:
    """All samples in one call give, bit for bit, what single calls give."""
    samples = stream()
    one_by_one = run(_fresh(make), samples, range(1, len(samples.slots)))
    _expect(same(run(_fresh(make), samples), one_by_one), "one call and single calls differ")


def check_cuts(make: MakeLearner) -> None:
    """Where a stream is cut into calls changes nothing."""
    samples = stream(seed=1)
    rng = np.random.default_rng(1)
    whole = run(_fresh(make), samples)
    for _ in range(5):
        cuts = rng.choice(len(samples.slots), size=4, replace=False)
        _expect(same(whole, run(_fresh(make), samples, cuts.tolist())), f"cuts at {sorted(cuts)} change an answer")


def check_series_apart(make: MakeLearner) -> None:
    """A series' answers do not depend on the other series, nor on its slot's number."""
    samples = stream(series=4, seed=2)
    mixed = run(_fresh(make, 4), samples)
    rows = np.flatnonzero(samples.slots == 2)
    alone = run(_fresh(make, 1), Samples(np.zeros(len(rows), np.int32), samples.ts[rows], samples.values[rows]))
    fields = type(mixed).__dataclass_fields__
    _expect(same(type(mixed)(*(getattr(mixed, name)[rows] for name in fields)), alone), "series influence each other")


def check_snapshot(make: MakeLearner) -> None:
    """A learner restored from a snapshot goes on as the one that gave it."""
    samples = stream(seed=3)
    half = len(samples.slots) // 2
    learner = _fresh(make)
    learner.score_learn(*samples.cut(slice(half)))
    state = learner.snapshot()
    other = make()
    other.restore(state)
    after = learner.score_learn(*samples.cut(slice(half, None)))
    _expect(same(after, other.score_learn(*samples.cut(slice(half, None)))), "a restored learner answers otherwise")
    _expect(_equal(learner.snapshot(), other.snapshot()), "a restored learner's state differs later")


def check_no_aliasing(make: MakeLearner) -> None:
    """A snapshot does not change when learning goes on, nor a learner when its snapshot is changed."""
    samples = stream(seed=4)
    learner = _fresh(make)
    learner.score_learn(*samples.cut(slice(600)))
    state = learner.snapshot()
    kept = {name: array.copy() for name, array in state.items()}
    other = make()
    other.restore(state)
    learner.score_learn(*samples.cut(slice(600, None)))
    _expect(_equal(state, kept), "learning changed a snapshot that was taken before")
    for array in state.values():
        if array.flags.writeable:
            array[...] = np.zeros((), array.dtype)
    _expect(_equal(other.snapshot(), kept), "changing a snapshot changed the learner restored from it")


def _equal(one: object, other: object) -> bool:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return False
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


def check_refuses_other_snapshots(make: MakeLearner) -> None:
    """Another version or other columns are refused with ValueError; a wrong version is named with ours."""
    learner = _fresh(make)
    good = dict(learner.snapshot())
    bad = {**good, "version": np.array([learner.version + 1000], np.int64)}
    message = _refusal(learner, bad)
    _expect(str(learner.version) in message, f"the refusal does not name our version: {message}")
    _expect(str(learner.version + 1000) in message, f"the refusal does not name its version: {message}")
    _refusal(learner, {**good, "no such column": np.zeros(3)})
    _refusal(learner, {"version": good["version"]})


def _refusal(learner: OnlineLearner, state: dict[str, npt.NDArray[np.generic]]) -> str:
    try:
        learner.restore(state)
    except ValueError as error:
        return str(error)
    raise AssertionError("a snapshot that does not fit was taken")


def check_evict(make: MakeLearner) -> None:
    """An evicted slot answers as one that was never used; its neighbours go on undisturbed."""
    samples = stream(seed=5)
    learner, untouched = _fresh(make), _fresh(make)
    learner.score_learn(*samples)
    untouched.score_learn(*samples)
    learner.evict(np.array([1], np.int32))
    later = stream(seed=6)
    later = Samples(later.slots, later.ts + (samples.ts[-1] - samples.ts[0]) + _MINUTE, later.values)
    again, fresh, before = (x.score_learn(*later) for x in (learner, _fresh(make), untouched))
    evicted = later.slots == 1
    _expect(bool(np.array_equal(again.score[evicted], fresh.score[evicted])), "an evicted slot remembers")
    _expect(bool(np.array_equal(again.score[~evicted], before.score[~evicted])), "evicting touched a neighbour")


def check_grow(make: MakeLearner) -> None:
    """Growing keeps what was learned, and asking for less changes nothing."""
    samples = stream(seed=7)
    small, large = _fresh(make), _fresh(make, 1000)
    first = small.score_learn(*samples.cut(slice(600)))
    _expect(same(first, large.score_learn(*samples.cut(slice(600)))), "spare slots change an answer")
    for slots in (4, 5, 100, 2):
        small.grow(slots)
    _expect(
        same(small.score_learn(*samples.cut(slice(600, None))), large.score_learn(*samples.cut(slice(600, None)))),
        "growing lost state",
    )


def check_refuses_unknown_slots(make: MakeLearner) -> None:
    """A slot without a row raises IndexError; a kernel would write where it must not."""
    learner = _fresh(make)
    for slot in (-1, 3):
        try:
            learner.score_learn(np.array([slot], np.int32), np.array([_START]), np.array([1.0]))
        except IndexError:
            continue
        raise AssertionError(f"slot {slot} of 3 was taken")


def check_bounded_memory(make: MakeLearner) -> None:
    """State does not grow with the number of samples."""
    learner = _fresh(make)
    sizes = []
    for seed in range(3):
        samples = stream(length=1000, seed=seed)
        learner.score_learn(samples.slots, samples.ts + seed * 10_000 * _MINUTE * 10, samples.values)
        sizes.append(sum(array.nbytes for array in learner.snapshot().values()))
    _expect(len(set(sizes)) == 1, f"state grew: {sizes} bytes")


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
        check_answer(run(_fresh(make, 1), one_series(values)), name)


def check_answer(verdicts: Verdicts, what: str) -> None:
    """Raise AssertionError where an answer breaks the contract of `Verdicts`."""
    _expect(bool(np.all((verdicts.score >= 0) & (verdicts.score <= 1))), f"{what}: a score is outside 0..1")
    known = ~np.isnan(verdicts.expected)
    for name in ("lower", "upper"):
        _expect(bool(np.array_equal(known, ~np.isnan(getattr(verdicts, name)))), f"{what}: NaN in part of a band")
    band = verdicts.lower[known], verdicts.expected[known], verdicts.upper[known]
    _expect(bool(np.all(np.isfinite(band))), f"{what}: a band is not finite")
    _expect(bool(np.all((band[0] <= band[1]) & (band[1] <= band[2]))), f"{what}: a band does not hold its middle")
    _expect(not verdicts.alarm[~known].any(), f"{what}: alarm while warming up")
    _expect(not verdicts.shape[~verdicts.alarm].any(), f"{what}: a shape without an alarm")
    _expect(not verdicts.score[~known].any(), f"{what}: score while warming up")


def check_time(make: MakeLearner) -> None:
    """Gaps of a month, steps of one millisecond and of a day, and equal times do no harm."""
    rng = np.random.default_rng(0)
    cases = {
        "one millisecond": np.full(500, 1),
        "one day": np.full(500, 86_400_000),
        "month-long gap": np.where(np.arange(500) == 300, 30 * 86_400_000, _MINUTE),
        "uneven": rng.integers(1, 10 * _MINUTE, 500),
        "no time passes": np.zeros(500),
    }
    for name, steps in cases.items():
        values = rng.normal(100.0, 5.0, 500)
        samples = Samples(np.zeros(500, np.int32), _START + np.cumsum(steps).astype(np.int64), values)
        check_answer(run(_fresh(make, 1), samples), name)


CHECKS: Final[tuple[Check, ...]] = (
    check_shapes,
    check_score_before_learn,
    check_many_equals_one_by_one,
    check_cuts,
    check_series_apart,
    check_snapshot,
    check_no_aliasing,
    check_refuses_other_snapshots,
    check_evict,
    check_grow,
    check_refuses_unknown_slots,
    check_bounded_memory,
    check_values,
    check_time,
)
"""All checks, in the order in which a failure is easiest to understand."""


def check_all(make: MakeLearner) -> None:
    """Run every check; raises AssertionError at the first that fails."""
    for check in CHECKS:
        check(make)
