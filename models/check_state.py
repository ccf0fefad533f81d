"""The checks on a learner's state: snapshots, older ones, eviction, growth, compaction, and its bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.check_streams import MINUTE, START, Samples, expect, fresh, run, same, stream

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.check_streams import MakeLearner
    from models.contracts import OnlineLearner


def check_snapshot(make: MakeLearner) -> None:
    """A learner restored from a snapshot goes on as the one that gave it."""
    samples = stream(seed=3)
    half = len(samples.slots) // 2
    learner = fresh(make)
    learner.score_learn(*samples.cut(slice(half)))
    state = learner.snapshot()
    other = make()
    other.restore(state)
    after = learner.score_learn(*samples.cut(slice(half, None)))
    expect(same(after, other.score_learn(*samples.cut(slice(half, None)))), "a restored learner answers otherwise")
    expect(_equal(learner.snapshot(), other.snapshot()), "a restored learner's state differs later")


def check_no_aliasing(make: MakeLearner) -> None:
    """A snapshot does not change when learning goes on, nor a learner when its snapshot is changed."""
    samples = stream(seed=4)
    learner = fresh(make)
    learner.score_learn(*samples.cut(slice(600)))
    state = learner.snapshot()
    kept = {name: array.copy() for name, array in state.items()}
    other = make()
    other.restore(state)
    learner.score_learn(*samples.cut(slice(600, None)))
    expect(_equal(state, kept), "learning changed a snapshot that was taken before")
    for array in state.values():
        if array.flags.writeable:
            array[...] = np.zeros((), array.dtype)
    expect(_equal(other.snapshot(), kept), "changing a snapshot changed the learner restored from it")


def _equal(one: object, other: object) -> bool:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return False
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


def check_refuses_other_snapshots(make: MakeLearner) -> None:
    """Another version or other columns are refused with ValueError; a wrong version is named with ours."""
    learner = fresh(make)
    good = dict(learner.snapshot())
    bad = {**good, "version": np.array([learner.version + 1000], np.int64)}
    message = _refusal(learner, bad)
    expect(str(learner.version) in message, f"the refusal does not name our version: {message}")
    expect(str(learner.version + 1000) in message, f"the refusal does not name its version: {message}")
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
    learner, untouched = fresh(make), fresh(make)
    learner.score_learn(*samples)
    untouched.score_learn(*samples)
    learner.evict(np.array([1], np.int32))
    later = stream(seed=6)
    later = Samples(later.slots, later.ts + (samples.ts[-1] - samples.ts[0]) + MINUTE, later.values)
    again, unused, before = (x.score_learn(*later) for x in (learner, fresh(make), untouched))
    evicted = later.slots == 1
    expect(bool(np.array_equal(again.score[evicted], unused.score[evicted])), "an evicted slot remembers")
    expect(bool(np.array_equal(again.score[~evicted], before.score[~evicted])), "evicting touched a neighbour")


def check_grow(make: MakeLearner) -> None:
    """Growing keeps what was learned, and asking for less changes nothing."""
    samples = stream(seed=7)
    small, large = fresh(make), fresh(make, 1000)
    first = small.score_learn(*samples.cut(slice(600)))
    expect(same(first, large.score_learn(*samples.cut(slice(600)))), "spare slots change an answer")
    for slots in (4, 5, 100, 2):
        small.grow(slots)
    expect(
        same(small.score_learn(*samples.cut(slice(600, None))), large.score_learn(*samples.cut(slice(600, None)))),
        "growing lost state",
    )


def check_refuses_unknown_slots(make: MakeLearner) -> None:
    """A slot without a row raises IndexError; a kernel would write where it must not."""
    learner = fresh(make)
    for slot in (-1, 3):
        try:
            learner.score_learn(np.array([slot], np.int32), np.array([START]), np.array([1.0]))
        except IndexError:
            continue
        raise AssertionError(f"slot {slot} of 3 was taken")


def check_bounded_memory(make: MakeLearner) -> None:
    """State does not grow with the number of samples."""
    learner = fresh(make)
    sizes = []
    for seed in range(3):
        samples = stream(length=1000, seed=seed)
        learner.score_learn(samples.slots, samples.ts + seed * 10_000 * MINUTE * 10, samples.values)
        sizes.append(sum(array.nbytes for array in learner.snapshot().values()))
    expect(len(set(sizes)) == 1, f"state grew: {sizes} bytes")


def check_older_snapshots(make: MakeLearner) -> None:
    """A snapshot of the version before is migrated, and the learner goes on, or refused with both versions named."""
    samples = stream(seed=8)
    learner = fresh(make)
    learner.score_learn(*samples.cut(slice(600)))
    old = {**learner.snapshot(), "version": np.array([learner.version - 1], np.int64)}
    other = make()
    try:
        other.restore(old)
    except ValueError as error:
        message = str(error)
        expect(f"version {learner.version}" in message, f"the refusal does not name our version: {message}")
        expect(f"version {learner.version - 1}" in message, f"the refusal does not name its version: {message}")
    else:
        run(other, samples.cut(slice(600, None)))


def check_compact(make: MakeLearner) -> None:
    """Series that are moved together go on undisturbed, new ones beside them are new, and memory is given back."""
    samples = stream(series=40, length=200, seed=9)
    keep = np.array([3, 17, 18, 39], np.int32)
    learner, untouched = fresh(make, 40), fresh(make, 40)
    learner.score_learn(*samples)
    untouched.score_learn(*samples)
    before = sum(array.nbytes for array in learner.snapshot().values())
    learner.compact(keep)
    after = sum(array.nbytes for array in learner.snapshot().values())
    expect(after < before / 5, f"4 of 40 series take {after} of {before} bytes")
    learner.grow(5)
    later = _later(samples, stream(series=5, length=200, seed=10))
    found = learner.score_learn(*later)
    old = np.append(keep, 0).astype(np.int32)
    moved = later.slots < 4
    known = untouched.score_learn(old[later.slots[moved]], later.ts[moved], later.values[moved])
    expect(bool(np.array_equal(found.score[moved], known.score)), "a series that was moved answers otherwise")
    new = later.slots == 4
    unknown = fresh(make, 1).score_learn(later.slots[new] - np.int32(4), later.ts[new], later.values[new])
    expect(bool(np.array_equal(found.score[new], unknown.score)), "a row behind the moved ones is not new")


def check_partial_snapshots(make: MakeLearner) -> None:
    """The state of a series changes with its own samples only: what is written again is what was live."""
    samples = stream(series=8, length=200, seed=11)
    learner = fresh(make, 8)
    learner.score_learn(*samples)
    before = learner.snapshot()
    later = _later(samples, stream(series=8, length=50, seed=12))
    learner.score_learn(*(column[later.slots == 2] for column in later))
    after = learner.snapshot()
    for name, column in after.items():
        idle = np.delete(np.arange(len(column)), 2) if len(column) == 8 else slice(0)
        expect(column[idle].tobytes() == before[name][idle].tobytes(), f"{name} of a series without samples changed")


def _later(samples: Samples, more: Samples) -> Samples:
    """A stream that begins when the other has ended."""
    return Samples(more.slots, more.ts + (samples.ts[-1] - more.ts[0]) + MINUTE, more.values)
