"""Columnar state: growing, eviction, snapshots."""

from __future__ import annotations

import numpy as np
import pytest

from models.columns import Columns

RECORD = np.dtype([("a", "f8"), ("b", "i4")], align=True)


def columns(version=3, width=2):
    made = Columns(version, {"record": (RECORD, ()), "ring": ("f4", (width,))})
    made.grow(5)
    made["record"]["a"][:5] = np.arange(5)
    made["ring"][:5] = np.arange(5)[:, None]
    return made


def test_bytes_per_slot_adds_up_all_columns():
    """A record of 16 bytes and two floats of 4 make 24."""
    assert columns().bytes_per_slot == 24


def test_growing_keeps_rows_and_adds_zero_rows():
    """Old rows stay, new rows are as new."""
    grown = columns()
    grown.grow(8)
    assert grown["record"]["a"][:8].tolist() == [0, 1, 2, 3, 4, 0, 0, 0]


def test_growing_one_by_one_moves_the_arrays_seldom():
    """Capacity grows by half, so that n growths copy O(n) rows."""
    grown, moves, array = columns(), 0, None
    for slots in range(6, 5000):
        grown.grow(slots)
        moves += grown["ring"] is not array
        array = grown["ring"]
    assert moves < 30


def test_asking_for_fewer_slots_changes_nothing():
    """`grow` never shrinks."""
    grown = columns()
    grown.grow(2)
    assert grown.slots == 5


def test_evicted_rows_are_zero_and_others_stay():
    """Eviction makes rows as new."""
    evicted = columns()
    evicted.evict(np.array([1, 3], np.int32))
    assert evicted["ring"][:5, 1].tolist() == [0, 0, 2, 0, 4]


def test_a_snapshot_takes_records_apart_and_holds_used_rows_only():
    """Whoever stores a snapshot sees plain dtypes."""
    state = columns().snapshot()
    assert sorted(state) == ["record.a", "record.b", "ring", "version"]
    assert all(a.dtype.names is None and a.flags.c_contiguous for a in state.values())
    assert len(state["ring"]) == 5


def test_restoring_gives_the_same_snapshot():
    """There and back again loses nothing."""
    state = columns().snapshot()
    other = Columns(3, {"record": (RECORD, ()), "ring": ("f4", (2,))})
    other.restore(state)
    assert all(np.array_equal(a, other.snapshot()[name]) for name, a in state.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": np.array([2])}, "version 2.*version 3"),
        ({"version": None}, "no version.*version 3"),
        ({"ring": None}, "has columns"),
        ({"other": np.zeros(5)}, "other"),
        ({"ring": np.zeros((5, 3), "f4")}, r"float32\[3\].*float32\[2\]"),
        ({"ring": np.zeros((5, 2), "f8")}, "float64"),
        ({"ring": np.zeros((4, 2), "f4")}, "different lengths"),
    ],
)
def test_a_snapshot_that_does_not_fit_is_refused(change, message):
    """The refusal says what differs, and the rows held before stay."""
    mine = columns()
    state = {k: v for k, v in {**mine.snapshot(), **change}.items() if v is not None}
    with pytest.raises(ValueError, match=message):
        mine.restore(state)
    assert mine["ring"][4, 0] == 4


@pytest.mark.parametrize("slot", [-1, 5])
def test_unknown_slots_are_refused(slot):
    """A slot that was never grown has no row."""
    with pytest.raises(IndexError, match=f"slot {slot} is outside 0..4"):
        columns().evict(np.array([slot], np.int32))


def test_compacting_moves_rows_together_and_gives_memory_back():
    """Rows keep their content under their new numbers; a row that is grown later is new."""
    compacted = columns()
    compacted.compact(np.array([1, 4], np.int32))
    assert (compacted.slots, len(compacted["ring"])) == (2, 2)
    compacted.grow(3)
    assert compacted["record"]["a"][:3].tolist() == [1, 4, 0]


BANK_2 = {"row.level": "f8", "row.still": "f4"}
BANK_3 = np.dtype([("level", "f8"), ("still", "f4"), ("moves", "f4"), ("bustle", "f4")], align=True)


def moves_and_bustle(old):
    """What version 3 of the bank added to version 2: nothing was seen to move yet, nor any bustle."""
    rows = len(old["row.level"])
    return {**old, "row.moves": np.zeros(rows, "f4"), "row.bustle": np.zeros(rows, "f4")}


def test_an_older_snapshot_is_migrated():
    """The bank's step from version 2 to 3 (two more fields of a row), and one more that renames a column."""
    old = {name: np.arange(3, dtype=dtype) for name, dtype in BANK_2.items()} | {"version": np.array([2])}
    migrations = {
        2: moves_and_bustle,
        3: lambda held: {name.replace("row.", "series."): column for name, column in held.items()},
    }
    new = Columns(4, {"series": (BANK_3, ())}, migrations)
    new.restore(old)
    assert new["series"]["level"].tolist() == [0, 1, 2]
    assert new["series"]["moves"].tolist() == [0, 0, 0]
    assert new.snapshot()["version"].tolist() == [4]


@pytest.mark.parametrize("version", [1, 5])
def test_a_snapshot_that_cannot_be_migrated_is_refused(version):
    """The message names both versions and the oldest that is read."""
    new = Columns(4, {"row": (BANK_3, ())}, {2: moves_and_bustle, 3: dict})
    with pytest.raises(
        ValueError, match=f"version {version}, this learner has version 4 and reads version 2 and later"
    ):
        new.restore({"version": np.array([version])})


def test_a_migration_that_leaves_something_out_is_refused():
    """Migrated columns are checked as any others, and the rows held before stay."""
    mine = Columns(3, {"row": (BANK_3, ())}, {2: dict})
    mine.grow(2)
    with pytest.raises(ValueError, match="bustle"):
        mine.restore({"version": np.array([2]), "row.level": np.zeros(3), "row.still": np.zeros(3, "f4")})
    assert mine.slots == 2
