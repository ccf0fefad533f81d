"""Slot numbers: the lowest free one first, moved together when few are taken."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.slots import Slots, renumbered


def taken(count, free=()):
    slots = Slots()
    for _ in range(count):
        slots.take()
    slots.give_back(np.array(free, np.int32))
    return slots


def test_the_lowest_free_slot_is_handed_out_next():
    """A replay hands out the same numbers."""
    slots = taken(5, [3, 1])
    assert [slots.take(), slots.take(), slots.take()] == [1, 3, 5]


def test_few_free_slots_are_not_sparse():
    """Rows are moved only where more than a thousand, and more than half, are free."""
    assert not taken(2_000, range(1_000)).is_sparse
    assert not taken(5_000, range(2_000)).is_sparse
    assert taken(5_000, range(3_000)).is_sparse


@given(st.sets(st.integers(0, 19)), st.lists(st.integers(0, 19)))
def test_compacting_keeps_the_order(free, asked):
    """The taken slots are numbered from 0 in their order, and whoever had none has none."""
    slots = taken(20, sorted(free))
    keep = slots.compact()
    assert keep.tolist() == [slot for slot in range(20) if slot not in free]
    assert (slots.used, len(slots)) == (len(keep), len(keep))
    held = [slot for slot in asked if slot not in free]
    places = renumbered(np.array([*held, -1], np.int32), keep)
    assert places.tolist() == [*(keep.tolist().index(slot) for slot in held), -1]


def test_restoring_knows_the_free_ones():
    """What is taken is told by whoever holds the slots."""
    slots = Slots()
    slots.restore(4, [0, 2])
    assert [slots.take(), slots.take(), slots.take()] == [1, 3, 4]
