"""A stage's state as blocks and back: no pickle, every array with its name, type and shape, and only what changed.

The bytes of each part of a state (an array or a string) are cut every `BLOCK_BYTES`. A block is known by the digest
of its content; one that the snapshot before had too is not written again, wherever it lies now. What is written:

    block  zstd of up to BLOCK_BYTES, under a number that the snapshot before does not use
    index  b"DURX" | zstd of msgpack: the parts, and for each digest the number and the offset of its block

So the blocks of the last committed snapshot stay untouched until the next one is committed, with transactions or
without. Numbers that the snapshot before the last one used are used again first; those left over are deleted.

`whole_snapshots.py` reads what earlier programs wrote: one string cut into chunks.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cramjam
import msgspec
import numpy as np

from pipeline.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from pipeline.stage import SnapshotState

FORMAT_VERSION = 2
BLOCK_BYTES = 65_536
"""Smaller ones would find more unchanged, and cost more to hash, write and index (`benchmarks/bench_snapshots.py`)."""
CHUNK_BYTES = 900_000
"""Of an index; below the broker's default message limit of 1 MiB."""

_MAGIC = b"DURX"
_LEVEL = 1  # state is floats: higher levels cost three times the time for a few per cent
_DIGEST_BYTES = 16


class Place(NamedTuple):
    """Where a block lies in the state topic: the number in its key, and its offset."""

    number: int
    offset: int


class Part(msgspec.Struct, frozen=True):
    """One part of a state: the digests of its blocks in order; no dtype means bytes."""

    name: str
    size: int
    digests: list[bytes]
    dtype: str | None = None
    shape: list[int] = []


class Index(msgspec.Struct, frozen=True):
    """All of a snapshot but the blocks' content."""

    stage: str
    parts: list[Part]
    places: dict[bytes, Place]
    stale: list[int] = []
    """Numbers of blocks that only the snapshot before this one used."""
    turn: int = 0
    """0 and 1 alternate: an index never overwrites the one before."""
    v: int = FORMAT_VERSION

    def numbers(self) -> set[int]:
        """Numbers of the blocks in use."""
        return {place.number for place in self.places.values()}


class Block(NamedTuple):
    """A block to be written."""

    digest: bytes
    number: int
    content: bytes


@dataclass(frozen=True, slots=True)
class EncodedSnapshot:
    """A snapshot ready to be written: `offset` is that of the first input record it has not seen."""

    offset: int
    stage: str
    parts: Sequence[Part]
    fresh: Sequence[Block]
    kept: Mapping[bytes, Place]
    gone: Sequence[int]
    """Numbers of blocks that nobody uses any more."""
    stale: Sequence[int]
    turn: int

    @property
    def size(self) -> int:
        """Bytes of the blocks to be written."""
        return sum(len(block.content) for block in self.fresh)

    def index(self, offsets: Sequence[int]) -> Index:
        """The index, once it is known where the fresh blocks lie."""
        places = {block.digest: Place(block.number, at) for block, at in zip(self.fresh, offsets, strict=True)}
        return Index(self.stage, list(self.parts), {**self.kept, **places}, list(self.stale), self.turn)


def encode_snapshot(stage: str, offset: int, state: SnapshotState, before: Index | None = None) -> EncodedSnapshot:
    """Cut a state, and compress what the snapshot `before` does not have. Takes CPU time: call it in a thread.

    Raises StateError for arrays of objects or structures.
    """
    known = before.places if before else {}
    numbers = _free_numbers(before)
    parts: list[Part] = []
    fresh: dict[bytes, Block] = {}
    kept: dict[bytes, Place] = {}
    for name, part in state.items():
        raw = _raw(name, part)
        digests = []
        for block in _cut(raw):
            digest = hashlib.blake2b(block, digest_size=_DIGEST_BYTES).digest()
            digests.append(digest)
            if digest in known:
                kept[digest] = known[digest]
            elif digest not in fresh:
                # One call a block: only the one-shot compressor lets go of the interpreter's lock.
                fresh[digest] = Block(digest, next(numbers), bytes(cramjam.zstd.compress(block, level=_LEVEL)))
        parts.append(_describe(name, part, raw.nbytes, digests))
    used = {block.number for block in fresh.values()}
    return EncodedSnapshot(
        offset=offset,
        stage=stage,
        parts=parts,
        fresh=list(fresh.values()),
        kept=kept,
        gone=sorted(set(before.stale) - used) if before else (),
        stale=sorted(before.numbers() - {place.number for place in kept.values()}) if before else (),
        turn=1 - before.turn if before else 0,
    )


def _free_numbers(before: Index | None) -> Iterator[int]:
    if before is None:
        return itertools.count()
    beyond = max((*before.numbers(), *before.stale), default=-1) + 1
    return itertools.chain(sorted(before.stale), itertools.count(beyond))


def encode_index(index: Index) -> list[bytes]:
    """The index in chunks."""
    data = _MAGIC + bytes(cramjam.zstd.compress(msgspec.msgpack.encode(index), level=_LEVEL))
    return [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]


def decode_index(stage: str, data: bytes) -> Index:
    """The index again. Raises StateError where the bytes are not the index of a snapshot of this stage."""
    if not data.startswith(_MAGIC):
        raise StateError(f"snapshot of {stage} starts with {data[:4]!r}, not {_MAGIC!r}")
    try:
        plain = bytes(cramjam.zstd.decompress(data[len(_MAGIC) :]))
        version = msgspec.msgpack.decode(plain, type=_Versioned).v
        if version != FORMAT_VERSION:
            raise StateError(f"snapshot of {stage} has format {version}, this program reads 1 and {FORMAT_VERSION}")
        index = msgspec.msgpack.decode(plain, type=Index)
    except (cramjam.DecompressionError, msgspec.DecodeError, ValueError, OverflowError) as error:
        raise StateError(f"index of a snapshot of {stage} is damaged: {error}") from error
    if index.stage != stage:
        raise StateError(f"snapshot is of stage {index.stage}, not of {stage}")
    return index


class _Versioned(msgspec.Struct):
    v: int


def decode_state(index: Index, blocks: Mapping[int, bytes]) -> dict[str, npt.NDArray[np.generic] | bytes]:
    """The state again, in arrays of its own, from the blocks by offset. Raises StateError for missing or other ones."""
    return {part.name: _joined(index, part, blocks) for part in index.parts}


def _joined(index: Index, part: Part, blocks: Mapping[int, bytes]) -> npt.NDArray[np.generic] | bytes:
    # Block after block into its place: a state is large, and is not to be held twice.
    raw = np.empty(part.size, np.uint8)
    try:
        at = 0
        for digest in part.digests:
            plain = _opened(index.stage, digest, index.places[digest], blocks)
            raw[at : at + plain.nbytes] = plain
            at += plain.nbytes
        if at != part.size:
            raise StateError(f"snapshot of {index.stage}: {part.name} has {at} bytes, its index says {part.size}")
        return raw.tobytes() if part.dtype is None else raw.view(part.dtype).reshape(part.shape)
    except (KeyError, ValueError, TypeError) as error:
        raise StateError(f"snapshot of {index.stage}: part {part.name!r} is damaged: {error!r}") from error


def _opened(stage: str, digest: bytes, place: Place, blocks: Mapping[int, bytes]) -> memoryview:
    if place.offset not in blocks:
        raise StateError(f"snapshot of {stage}: block {place.number} at offset {place.offset} is missing")
    try:
        plain = memoryview(cramjam.zstd.decompress(blocks[place.offset]))
    except cramjam.DecompressionError as error:
        raise StateError(f"snapshot of {stage}: block at offset {place.offset} is damaged: {error}") from error
    if hashlib.blake2b(plain, digest_size=_DIGEST_BYTES).digest() != digest:
        raise StateError(f"snapshot of {stage}: block at offset {place.offset} is not the one that was written")
    return plain


def _cut(raw: memoryview) -> Iterator[memoryview]:
    return (raw[at : at + BLOCK_BYTES] for at in range(0, raw.nbytes, BLOCK_BYTES))


def _raw(name: str, part: npt.NDArray[np.generic] | bytes) -> memoryview:
    if isinstance(part, bytes):
        return memoryview(part)
    if part.dtype.hasobject or part.dtype.names is not None:
        raise StateError(f"state {name!r} is an array of {part.dtype}; give numbers, dates, text or bytes")
    # The view as bytes exists for every dtype (dates too) and for empty arrays.
    return np.ascontiguousarray(part).reshape(-1).view(np.uint8).data


def _describe(name: str, part: npt.NDArray[np.generic] | bytes, size: int, digests: list[bytes]) -> Part:
    if isinstance(part, bytes):
        return Part(name, size, digests)
    return Part(name, size, digests, part.dtype.str, list(part.shape))
