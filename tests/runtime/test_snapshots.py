"""State to bytes and back, and the pointer to it."""

from __future__ import annotations

import base64
import itertools

import hypothesis.extra.numpy as npst
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import StateError
from pipeline.runtime.position import Position, SnapshotPointer, parse_position
from pipeline.runtime.snapshots import (
    BLOCK_BYTES,
    CHUNK_BYTES,
    EncodedSnapshot,
    Index,
    Part,
    Place,
    decode_index,
    decode_state,
    encode_index,
    encode_snapshot,
)
from pipeline.runtime.whole_snapshots import as_index, decode_whole, is_whole

ARRAYS = npst.arrays(
    dtype=st.one_of(
        npst.boolean_dtypes(),
        npst.integer_dtypes(),
        npst.unsigned_integer_dtypes(),
        npst.floating_dtypes(),
        npst.datetime64_dtypes(),
        npst.unicode_string_dtypes(max_len=8),
    ),
    shape=npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
)
STATES = st.dictionaries(st.text(max_size=12), st.one_of(st.binary(max_size=200), ARRAYS), max_size=6)


class Topic:
    """A compacted topic of one partition's snapshots: the newest value by number, with its offset."""

    def __init__(self) -> None:
        self.end = 0
        self.log: dict[int, tuple[int, bytes]] = {}

    def take(self, snapshot: EncodedSnapshot) -> Index:
        """Write a snapshot, and compact at once; its index, as it is read back."""
        offsets = []
        for block in snapshot.fresh:
            self.log[block.number] = (self.end, block.content)
            offsets.append(self.end)
            self.end += 1
        for number in snapshot.gone:
            self.log.pop(number, None)
        return decode_index("stage", b"".join(encode_index(snapshot.index(offsets))))

    def blocks(self) -> dict[int, bytes]:
        """What can be read, by offset."""
        return dict(self.log.values())


def assert_same(found: dict[str, np.ndarray | bytes], state: dict[str, np.ndarray | bytes]) -> None:
    assert list(found) == list(state)
    for name, part in state.items():
        again = found[name]
        if isinstance(part, bytes):
            assert again == part
            continue
        assert isinstance(again, np.ndarray)
        assert (again.dtype, again.shape, again.tobytes()) == (part.dtype, part.shape, part.tobytes())
        assert again.flags.writeable


@given(st.lists(STATES, min_size=1, max_size=4))
def test_states_come_back_as_they_were(states: list[dict[str, np.ndarray | bytes]]) -> None:
    """Names, types, shapes and every bit (NaN's too) survive, snapshot after snapshot, in memory of their own."""
    topic, index = Topic(), None
    for state in states:
        index = topic.take(encode_snapshot("stage", 0, state, index))
        assert_same(decode_state(index, topic.blocks()), state)


@given(st.lists(STATES, min_size=2, max_size=5))
def test_the_last_committed_snapshot_survives_the_next_ones_blocks(states: list[dict[str, np.ndarray | bytes]]) -> None:
    """Blocks of a snapshot that is never committed overwrite and delete nothing of the committed one."""
    topic, index = Topic(), None
    for state, lost in itertools.pairwise(states):
        index = topic.take(encode_snapshot("stage", 0, state, index))
        topic.take(encode_snapshot("stage", 0, lost, index))
        assert_same(decode_state(index, topic.blocks()), state)


def rows(count: int, changed: int = 0) -> dict[str, np.ndarray]:
    """A column of 1 KB a row, of which the first `changed` are other than usual."""
    column = np.random.default_rng(1).random((count, 128))
    column[:changed] += 1.0
    return {"column": column}


def test_only_changed_blocks_are_written() -> None:
    """One row of a thousand changes: one block is written, the others stay where they are."""
    topic = Topic()
    first = encode_snapshot("stage", 0, rows(1000))
    index = topic.take(first)
    second = encode_snapshot("stage", 1, rows(1000, changed=1), index)
    assert len(first.fresh) == -(-1000 * 1024 // BLOCK_BYTES)
    assert (len(second.fresh), len(second.kept)) == (1, len(first.fresh) - 1)


def test_rows_that_are_added_leave_full_blocks_alone() -> None:
    """Growth writes the last block and the new ones."""
    index = Topic().take(encode_snapshot("stage", 0, rows(1000)))
    grown = {"column": np.vstack([rows(1000)["column"], np.ones((10, 128))])}
    assert len(encode_snapshot("stage", 1, grown, index).fresh) == 1


def test_the_topic_holds_at_most_two_snapshots() -> None:
    """Everything changes each time, later the state shrinks: numbers are used again, what is over is deleted."""
    topic, index = Topic(), None
    for turn in range(10):
        state = {"noise": np.random.default_rng(turn).random(100_000)}
        index = topic.take(encode_snapshot("stage", turn, state, index))
    blocks = -(-800_000 // BLOCK_BYTES)
    assert len(topic.log) == 2 * blocks
    for turn in range(3):
        index = topic.take(encode_snapshot("stage", turn, {"noise": np.array([turn])}, index))
    assert len(topic.log) == 2


@given(STATES, st.data())
def test_damage_never_becomes_a_state_silently(state: dict[str, np.ndarray | bytes], data: st.DataObject) -> None:
    """Cut or changed bytes of the index are a StateError or, where nobody could tell, an index."""
    snapshot = encode_snapshot("stage", 0, state)
    encoded = bytearray(b"".join(encode_index(snapshot.index(range(len(snapshot.fresh))))))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(encoded), bytes(encoded[:at])):
        try:
            decode_index("stage", damaged)
        except StateError as error:
            assert "stage" in str(error)  # noqa: PT017  some damage cannot be seen without the checksum


def test_a_block_that_is_another_one_is_refused() -> None:
    """Content is checked against the digest in the index, and what is missing is named."""
    topic = Topic()
    index = topic.take(encode_snapshot("stage", 0, rows(100)))
    blocks = topic.blocks()
    offsets = sorted(blocks)
    with pytest.raises(StateError, match=f"offset {offsets[0]} is not the one"):
        decode_state(index, {**blocks, offsets[0]: blocks[offsets[1]]})
    with pytest.raises(StateError, match=f"offset {offsets[1]} is missing"):
        decode_state(index, {offset: block for offset, block in blocks.items() if offset != offsets[1]})


def test_long_indexes_are_cut_below_the_message_limit() -> None:
    """The chunks put together are the index."""
    places = {number.to_bytes(16, "little"): Place(number, 7 * number) for number in range(100_000)}
    index = Index("stage", [Part("part", 1, [np.random.default_rng(n).bytes(16) for n in range(60_000)])], places)
    chunks = encode_index(index)
    assert len(chunks) > 1
    assert all(len(chunk) == CHUNK_BYTES for chunk in chunks[:-1])
    assert decode_index("stage", b"".join(chunks)) == index


@pytest.mark.parametrize(
    "array", [np.array([object()]), np.zeros(1, dtype=[("field", "f8")])], ids=["objects", "structures"]
)
def test_what_cannot_be_read_back_safely_is_refused(array: np.ndarray) -> None:
    """Objects would need pickle; structures have no plain description."""
    with pytest.raises(StateError, match="'part' is an array of"):
        encode_snapshot("stage", 0, {"part": array})


def test_another_stages_snapshot_is_refused() -> None:
    """The message names both."""
    with pytest.raises(StateError, match="of stage detect, not of advise"):
        decode_index("advise", b"".join(encode_index(Index("detect", [], {}))))


def test_an_index_of_a_later_program_is_refused() -> None:
    """The message names its format and those that are read."""
    data = b"".join(encode_index(Index("stage", [], {}, v=3)))
    with pytest.raises(StateError, match="format 3, this program reads 1 and 2"):
        decode_index("stage", data)


# Written by version 0.1 of this program: encode_state("stage", {"a": np.arange(3), "b": b"text"}).
WHOLE = base64.b64decode(
    "RFVSSXkAAAB7InYiOiAxLCAic3RhZ2UiOiAic3RhZ2UiLCAicGFydHMiOiBbeyJuYW1lIjogImEiLCAic2l6ZSI6IDI5LCAiZHR5"
    "cGUiOiAiPGk4IiwgInNoYXBlIjogWzNdfSwgeyJuYW1lIjogImIiLCAic2l6ZSI6IDEzfV19KLUv/SAYpQAAYAAAAQACAAAAAAAA"
    "AAIAYOABYAEotS/9IAQhAAB0ZXh0"
)


def test_a_snapshot_of_format_1_is_read() -> None:
    """What an earlier program wrote is taken over; the next snapshot's numbers are not those of its chunks."""
    assert is_whole(WHOLE)
    assert_same(decode_whole("stage", WHOLE), {"a": np.arange(3), "b": b"text"})
    following = encode_snapshot("stage", 1, {"c": b"new"}, as_index("stage", 3))
    assert [block.number for block in following.fresh] == [3]
    assert following.stale == [0, 1, 2]


POINTERS = st.builds(
    SnapshotPointer,
    offset=st.integers(0, 2**63 - 1),
    partition=st.integers(0, 2**31 - 1),
    first=st.integers(0, 2**63 - 1),
    last=st.integers(0, 2**63 - 1),
    chunks=st.integers(1, 10**6),
    size=st.integers(1, 2**40),
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
)


@given(st.builds(Position, offset=st.integers(0, 2**63 - 1), snapshot=st.none() | POINTERS))
def test_positions_fit_beside_an_offset(position: Position) -> None:
    """Any position survives the way through the broker, whose limit is 4096 bytes."""
    metadata = position.metadata()
    assert len(metadata.encode()) < 500
    assert parse_position(position.offset, metadata) == position


@pytest.mark.parametrize("metadata", ["x", "{}", "[]", "null", '{"v": 2}', '{"v": 1, "s": {"o": 1}}', '{"v":1,"s":7}'])
def test_foreign_metadata_is_refused(metadata: str) -> None:
    """What another program or a later version stored is never half understood."""
    with pytest.raises(StateError, match="committed offset 5"):
        parse_position(5, metadata)


def test_no_metadata_is_a_position_without_a_snapshot() -> None:
    """As a person's tool sets it."""
    assert parse_position(5, "") == Position(5)
