from __future__ import annotations

import math
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.series import Kind
from pipeline.signals.advance import TALLIES
from pipeline.signals.index import SlotIndex
from pipeline.signals.store import SeriesStore
from tests.builders import START, series

GAP_MS = 300_000
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


def run(name: str, points: list[tuple[int, float]], frame_start: int = 0) -> tuple[SeriesStore, list[float]]:
    """A store that has taken these (seconds after the start, value) of one series; what learners watched."""
    store = SeriesStore(10, GAP_MS)
    one = series(name)
    slot = store.add(one.identity(), one)
    slots = np.full(len(points), slot, dtype=np.int32)
    ts = np.array([START + at * 1000 for at, _ in points], dtype=np.int64)
    watched = store.advance(slots, ts, np.array([value for _, value in points]), frame_start)
    return store, watched.tolist()


def tally(store: SeriesStore) -> dict[str, int]:
    return {name: int(count) for name, count in zip(TALLIES, store.tally, strict=True) if count}


def test_gauge_is_watched_as_it_is() -> None:
    """A gauge's values go to the learners unchanged, and the frame keeps last, sum, peak and count."""
    store, watched = run("queue_depth", [(0, 3.0), (15, 7.0), (30, 5.0)])
    assert watched == [3.0, 7.0, 5.0]
    row = store.rows[0]
    assert (row["last_value"], row["total"], row["peak"], row["count"]) == (5.0, 15.0, 7.0, 3)


def test_counter_is_watched_as_its_rate() -> None:
    """A counter's rate per second needs two samples."""
    store, watched = run("http_requests_total", [(0, 100.0), (10, 150.0), (30, 170.0)])
    assert math.isnan(watched[0])
    assert watched[1:] == [5.0, 1.0]
    assert (store.rows[0]["increase"], store.rows[0]["elapsed"]) == (70.0, 30_000)


def test_counter_reset_counts_from_zero() -> None:
    """A counter that falls was reset and has grown by its new value."""
    store, watched = run("http_requests_total", [(0, 100.0), (10, 4.0), (20, 14.0)])
    assert watched[1:] == [0.4, 1.0]
    assert store.rows[0]["increase"] == 14.0


def deltas(points: list[tuple[int, float]]) -> tuple[SeriesStore, list[float]]:
    """As `run`, of a series of increments."""
    store = SeriesStore(10, GAP_MS)
    one = msgspec.structs.replace(series("requests"), kind=Kind.DELTA)
    slots = np.full(len(points), store.add(one.identity(), one), dtype=np.int32)
    ts = np.array([START + at * 1000 for at, _ in points], dtype=np.int64)
    watched = store.advance(slots, ts, np.array([value for _, value in points]), 0)
    return store, watched.tolist()


def test_deltas_are_what_was_added_since_the_previous_sample() -> None:
    """An increment is spread over the time since the previous one; the first is over no known time."""
    store, watched = deltas([(0, 7.0), (10, 50.0), (30, 20.0)])
    assert math.isnan(watched[0])
    assert watched[1:] == [5.0, 1.0]
    assert (store.rows[0]["increase"], store.rows[0]["elapsed"]) == (70.0, 30_000)


def test_deltas_after_a_long_silence_count_over_the_gap() -> None:
    """What was added is certain, though not when: it is spread over the gap, not over the silence."""
    store, watched = deltas([(0, 1.0), (3600, 600.0)])
    assert watched[1] == 2.0
    assert (store.rows[0]["increase"], store.rows[0]["elapsed"]) == (600.0, GAP_MS)


def test_deltas_may_fall() -> None:
    """A smaller increment is no reset, and a negative one (of a sum that may fall) takes away."""
    store, watched = deltas([(0, 9.0), (10, 5.0), (20, -15.0)])
    assert watched[1:] == [0.5, -1.5]
    assert store.rows[0]["increase"] == -10.0


def test_deltas_after_a_staleness_marker_count_from_there() -> None:
    """A series that ended and began again has grown since it ended."""
    store, _ = deltas([(0, 1.0), (10, STALE), (20, 5.0)])
    assert (store.rows[0]["increase"], store.rows[0]["elapsed"]) == (5.0, 10_000)


def test_no_rate_across_a_gap() -> None:
    """After a longer silence than the gap a counter starts over."""
    _, watched = run("http_requests_total", [(0, 100.0), (301, 4000.0), (311, 4010.0)])
    assert math.isnan(watched[1])
    assert watched[2] == 1.0


@pytest.mark.parametrize(
    ("points", "counts"),
    [
        ([(0, 1.0), (0, 2.0)], {"late": 1, "accepted": 1}),
        ([(10, 1.0), (5, 2.0), (11, 3.0)], {"late": 1, "accepted": 2}),
        ([(0, math.nan), (1, math.inf), (2, -math.inf), (3, 1.0)], {"not_finite": 3, "accepted": 1}),
        ([(0, 1.0), (1, STALE), (2, 2.0)], {"stale": 1, "accepted": 2}),
        ([(0, 1.7e308), (1, -1.7e308)], {"accepted": 2}),
    ],
)
def test_bad_samples_are_dropped_and_counted(points: list[tuple[int, float]], counts: dict[str, int]) -> None:
    """Duplicates, late samples, NaN and infinities change nothing but their counts."""
    store, watched = run("queue_depth", points)
    assert tally(store) == counts
    assert sum(not math.isnan(value) for value in watched) == counts["accepted"]


def test_staleness_marker_ends_a_counter() -> None:
    """After Prometheus' staleness marker no rate is taken until there are two samples again."""
    _, watched = run("http_requests_total", [(0, 100.0), (10, STALE), (20, 120.0), (30, 130.0)])
    assert [value for value in watched if not math.isnan(value)] == [1.0]


def test_samples_older_than_the_frame_are_counted() -> None:
    """A sample for a closed frame moves its series on but not the frame's sums."""
    store, _ = run("queue_depth", [(0, 9.0), (60, 1.0)], frame_start=START + 60_000)
    assert tally(store) == {"out_of_frame": 1, "accepted": 2}
    assert (store.rows[0]["total"], store.rows[0]["peak"], store.rows[0]["count"]) == (1.0, 1.0, 1)


def test_full_store_makes_room_for_newcomers() -> None:
    """The least recently seen series goes first."""
    store = SeriesStore(3, GAP_MS)
    every = [series(f"m{i}") for i in range(3)]
    slots = [store.add(one.identity(), one) for one in every]
    times = np.array([START + 2000, START, START + 1000], dtype=np.int64)
    store.advance(np.array(slots, dtype=np.int32), times, np.ones(3), 0)
    assert store.is_full
    assert store.idle_since(START - 1, 0).tolist() == []
    assert store.idle_since(START - 1, 1).tolist() == [slots[1]]
    assert store.idle_since(START + 1, 0).tolist() == [slots[1]]
    store.evict(np.array([slots[1]], dtype=np.int32))
    assert store.lookup(np.array([one.identity() for one in every], dtype=np.uint64)).tolist() == [0, -1, 2]
    late = series("m9")
    assert store.add(late.identity(), late) == slots[1]


def test_snapshot_is_a_copy_and_restores() -> None:
    """A restored store answers as the original did, and later changes of either do not reach the other."""
    store, _ = run("http_requests_total", [(0, 100.0), (10, 150.0)])
    state = store.snapshot()
    again = SeriesStore(10, GAP_MS)
    again.restore(state)
    slot = np.array([0], dtype=np.int32)
    ts, value = np.array([START + 20_000]), np.array([160.0])
    assert store.advance(slot, ts, value, 0).tolist() == again.advance(slot, ts, value, 0).tolist() == [1.0]
    assert again.snapshot().keys() == state.keys()
    third = SeriesStore(10, GAP_MS)
    third.restore(state)
    assert third.rows[0]["last_value"] == 150.0


@given(st.lists(st.integers(1, 2**64 - 1), unique=True, max_size=3000), st.data())
def test_index_holds_what_was_inserted(identities: list[int], data: st.DataObject) -> None:
    """Every identity is found at its slot and no other is, also after growing and rebuilding."""
    index = SlotIndex()
    for slot, identity in enumerate(identities):
        index.insert(identity, slot)
    wanted = np.array(identities, dtype=np.uint64)
    assert index.lookup(wanted).tolist() == list(range(len(identities)))
    kept = data.draw(st.integers(0, len(identities)))
    index.rebuild(wanted[:kept], np.arange(kept, dtype=np.int32))
    assert index.lookup(wanted).tolist() == [*range(kept), *[-1] * (len(identities) - kept)]


values = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(st.integers(0, 1000), values), max_size=60), st.integers(0, 60), st.booleans())
def test_one_by_one_equals_all_at_once(points: list[tuple[int, float]], place: int, counter: bool) -> None:
    """Cutting a stream of samples changes no bit of what is watched, nor of the state."""
    name = "http_requests_total" if counter else "queue_depth"
    whole, watched = run(name, points)
    store = SeriesStore(10, GAP_MS)
    one = series(name)
    store.add(one.identity(), one)
    parts = []
    for piece in (points[:place], points[place:]):
        ts = np.array([START + at * 1000 for at, _ in piece], dtype=np.int64)
        values_of = np.array([value for _, value in piece], dtype=np.float64)
        parts += store.advance(np.zeros(len(piece), dtype=np.int32), ts, values_of, 0).tolist()
    assert str(parts) == str(watched)
    assert store.rows[:1].tobytes() == whole.rows[:1].tobytes()
