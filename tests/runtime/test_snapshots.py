"""State to bytes and back, and the pointer to it."""

from __future__ import annotations

import hashlib

import hypothesis.extra.numpy as npst
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import StateError
from pipeline.runtime.position import Position, SnapshotPointer, parse_position
from pipeline.runtime.snapshots import CHUNK_BYTES, decode_state, encode_snapshot, encode_state

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


@given(STATES)
def test_a_state_comes_back_as_it_was(state: dict[str, np.ndarray | bytes]) -> None:
    """Names, types, shapes and every bit (NaN's too) survive, in memory that may be written."""
    again = decode_state("stage", encode_state("stage", state))
    assert list(again) == list(state)
    for name, part in state.items():
        found = again[name]
        if isinstance(part, bytes):
            assert found == part
            continue
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.shape, found.tobytes()) == (part.dtype, part.shape, part.tobytes())
        assert found.flags.writeable


@given(STATES, st.data())
def test_damage_never_becomes_a_state_silently(state: dict[str, np.ndarray | bytes], data: st.DataObject) -> None:
    """Cut or changed bytes are a StateError or, where nobody could tell, a state; never another exception."""
    encoded = bytearray(encode_state("stage", state))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(encoded), bytes(encoded[:at])):
        try:
            decode_state("stage", damaged)
        except StateError as error:
            assert "stage" in str(error)  # noqa: PT017  some damage cannot be seen without the checksum


def test_long_states_are_cut_below_the_message_limit() -> None:
    """The chunks put together are what was hashed."""
    noise = np.random.default_rng(1).bytes(2 * CHUNK_BYTES)
    snapshot = encode_snapshot("stage", 42, {"noise": noise})
    assert [len(chunk) for chunk in snapshot.chunks[:-1]] == [CHUNK_BYTES] * 2
    data = b"".join(snapshot.chunks)
    assert (snapshot.offset, snapshot.size) == (42, len(data))
    assert snapshot.sha256 == hashlib.sha256(data).hexdigest()
    assert decode_state("stage", data) == {"noise": noise}


@pytest.mark.parametrize(
    "array", [np.array([object()]), np.zeros(1, dtype=[("field", "f8")])], ids=["objects", "structures"]
)
def test_what_cannot_be_read_back_safely_is_refused(array: np.ndarray) -> None:
    """Objects would need pickle; structures have no plain description."""
    with pytest.raises(StateError, match="'part' is an array of"):
        encode_state("stage", {"part": array})


def test_another_stages_snapshot_is_refused() -> None:
    """The message names both."""
    with pytest.raises(StateError, match="of stage detect, not of advise"):
        decode_state("advise", encode_state("detect", {}))


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
