"""What is known by its raw bytes: one hash index for every format, open addressing over one arena of bytes.

A key is a number and two spans of bytes. The number says what kind of thing it is and what it is part
of, so that a long message around many points is compared once and not for each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.ingest.scan.compiled import kernel
from pipeline.ingest.scan.words import load64

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

_FNV_OFFSET, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_START, _A_SIZE, _B_SIZE, _NUMBER, _VALUE = range(5)
_ARENA_BYTES = 256 << 20


JSON_SAMPLE, REMOTE_WRITE, REMOTE_WRITE_2, OTLP_SCOPE, OTLP_METRIC, OTLP_NUMBER, OTLP_HISTOGRAM = range(7)
INFLUX_LINE, INFLUX_FIELD = range(7, 9)
"""Kinds of things that are known: the lowest bits of a key's number."""
_KIND_BITS = 4


class Arrays(NamedTuple):
    """What is known, as kernels read it.

    arena uint8[bytes], digest uint64[places] (0: empty), entry int64[places, 5]; blocks int64[m]: where a key stands
    for several series, its value is the place of their number, which the series follow (or of what `learn_layout` has).
    """

    arena: npt.NDArray[np.uint8]
    digest: npt.NDArray[np.uint64]
    entry: npt.NDArray[np.int64]
    blocks: npt.NDArray[np.int64]


@kernel
def number_of(kind: int, part_of: int) -> int:
    """A key's number: the kind of thing, and what it is part of (any number from 0)."""
    return kind | part_of << _KIND_BITS


class KnownBytes:
    """Bytes that were met before, each with a value of its own."""

    def __init__(self) -> None:
        self._arena = np.zeros(1 << 16, dtype=np.uint8)
        self._used = 0
        self._count = 0
        self._parts = 0
        self._keys: dict[bytes, int] = {}
        self._blocks = np.zeros(1024, dtype=np.int64)
        self._blocks_used = 0
        self._allocate(1024)

    def _allocate(self, places: int) -> None:
        self._digest = np.zeros(places, dtype=np.uint64)
        self._entry = np.zeros((places, 5), dtype=np.int64)

    def __len__(self) -> int:
        return self._count + len(self._keys)

    @property
    def is_full(self) -> bool:
        """Whether it holds more bytes than it should."""
        return self._used > _ARENA_BYTES

    @property
    def arrays(self) -> Arrays:
        """As kernels read it; what is learned later may be elsewhere."""
        return Arrays(self._arena, self._digest, self._entry, self._blocks)

    def learn(self, number: int, a: bytes, b: bytes, value: int) -> int:
        """Know this key by that value; gives the value it has, which is an older one where it was known."""
        text = np.frombuffer(a + b, dtype=np.uint8)
        if 2 * (self._count + 1) > len(self._digest):
            self._grow()
        self._make_room(len(text))
        found = int(_learn(self._arena, self._digest, self._entry, text, (number, len(a), self._used, value)))
        if found >= 0:
            return found
        self._used += len(text)
        self._count += 1
        return value

    def _store(self, raw: npt.NDArray[np.uint8]) -> int:
        """Where in the arena these bytes are from now on."""
        self._make_room(len(raw))
        start, self._used = self._used, self._used + len(raw)
        self._arena[start : self._used] = raw
        return start

    def _make_room(self, size: int) -> None:
        while self._used + size > len(self._arena):
            self._arena = np.concatenate([self._arena, np.zeros_like(self._arena)])

    def key_part(self, key: bytes | None) -> int:
        """The number of a message key as a part: where the key may name the service, all is part of it."""
        part = self._keys.get(key or b"")
        if part is None:
            part = self._keys[key or b""] = self._parts
            self._parts += 1
        return part

    def learn_part(self, number: int, a: bytes, b: bytes) -> int:
        """Know what is not a series but holds some, by a number of its own, which is given."""
        found = self.learn(number, a, b, self._parts)
        self._parts += found == self._parts
        return found

    def learn_block(self, number: int, a: bytes, b: bytes, series: Sequence[int]) -> None:
        """Know what gives several series, in order."""
        if self.learn(number, a, b, self._blocks_used) == self._blocks_used:
            self._add_block([len(series), *series])

    def learn_layout(self, number: int, a: bytes, b: bytes, fields: Sequence[tuple[bytes, int]]) -> int:
        """Know what holds series under names of their own, mostly these in this order; the number of it as a part.

        The block is that number, how many fields there are, and of each the place of its name in the arena, the name's
        size and the series.
        """
        place = self.learn(number, a, b, self._blocks_used)
        if place == self._blocks_used:
            names = [(self._store(np.frombuffer(name, dtype=np.uint8)), len(name)) for name, _ in fields]
            of_each = [part for name, (_, series) in zip(names, fields, strict=True) for part in (*name, series)]
            self._add_block([self._parts, len(fields), *of_each])
            self._parts += 1
        return int(self._blocks[place])

    def _add_block(self, numbers: Sequence[int]) -> None:
        start, end = self._blocks_used, self._blocks_used + len(numbers)
        while end > len(self._blocks):
            self._blocks = np.concatenate([self._blocks, np.zeros_like(self._blocks)])
        self._blocks[start:end] = numbers
        self._blocks_used = end

    def _grow(self) -> None:
        digests, entries = self._digest, self._entry
        self._allocate(2 * len(digests))
        _insert_all(self._digest, self._entry, digests, entries)


Spans = tuple[int, int, int, int]
"""Where a and b of a key begin and end: a, end of a, b, end of b."""


@kernel
def _mixed(h: np.uint64, text: npt.NDArray[np.uint8], at: int, end: int) -> np.uint64:
    """FNV-1a over eight bytes at a time (then over the rest one by one), each time folded, as high bits rise only."""
    while at + 8 <= end:
        h = (h ^ np.uint64(load64(text, at))) * _FNV_PRIME
        h ^= h >> np.uint64(32)
        at += 8
    while at < end:
        h = (h ^ np.uint64(text[at])) * _FNV_PRIME
        at += 1
    return h


@kernel
def _digest(number: int, text: npt.NDArray[np.uint8], spans: Spans) -> np.uint64:
    """Hash of the number and two spans; never 0, which marks an empty place."""
    h = (_FNV_OFFSET ^ np.uint64(number)) * _FNV_PRIME
    h = _mixed(_mixed(h, text, spans[0], spans[1]), text, spans[2], spans[3])
    h ^= h >> np.uint64(32)
    return h if h != np.uint64(0) else np.uint64(1)


@kernel
def _insert_all(
    digests: npt.NDArray[np.uint64],
    entries: npt.NDArray[np.int64],
    old_digests: npt.NDArray[np.uint64],
    old_entries: npt.NDArray[np.int64],
) -> None:
    """Put what was known into a larger, empty table."""
    for old in range(len(old_digests)):
        if old_digests[old] != np.uint64(0):
            at = np.int64(old_digests[old] & np.uint64(len(digests) - 1))
            while digests[at] != np.uint64(0):
                at = (at + 1) & (len(digests) - 1)
            digests[at] = old_digests[old]
            for field in range(entries.shape[1]):
                entries[at, field] = old_entries[old, field]


@kernel
def is_same(arena: npt.NDArray[np.uint8], start: int, text: npt.NDArray[np.uint8], at: int, size: int) -> bool:
    """Whether these bytes of the arena are those of the text."""
    i = 0
    while i + 8 <= size:
        if load64(arena, start + i) != load64(text, at + i):
            return False
        i += 8
    while i < size:
        if arena[start + i] != text[at + i]:
            return False
        i += 1
    return True


@kernel
def find(known: Arrays, number: int, text: npt.NDArray[np.uint8], spans: Spans) -> int:
    """Value of the key with this number and these spans of the text; -1 where it is not known."""
    return find_in(known.arena, known.digest, known.entry, number, text, spans)


@kernel
def find_in(
    arena: npt.NDArray[np.uint8],
    digest: npt.NDArray[np.uint64],
    entry: npt.NDArray[np.int64],
    number: int,
    text: npt.NDArray[np.uint8],
    spans: Spans,
) -> int:
    """As `find`, for loops: to take an array out of a tuple, or a row out of one, costs more than to look a key up."""
    at = _place(arena, digest, entry, number, text, spans)
    return int(entry[at, _VALUE]) if digest[at] != np.uint64(0) else -1


@kernel
def _place(
    arena: npt.NDArray[np.uint8],
    digest: npt.NDArray[np.uint64],
    entry: npt.NDArray[np.int64],
    number: int,
    text: npt.NDArray[np.uint8],
    spans: Spans,
) -> int:
    """Where in the table the key is, or the empty place where it belongs."""
    wanted = _digest(number, text, spans)
    a_size, b_size = spans[1] - spans[0], spans[3] - spans[2]
    at = np.int64(wanted & np.uint64(len(digest) - 1))
    while digest[at] != np.uint64(0):
        if (
            digest[at] == wanted
            and entry[at, _NUMBER] == number
            and entry[at, _A_SIZE] == a_size
            and entry[at, _B_SIZE] == b_size
            and is_same(arena, entry[at, _START], text, spans[0], a_size)
            and is_same(arena, entry[at, _START] + a_size, text, spans[2], b_size)
        ):
            return int(at)
        at = (at + 1) & (len(digest) - 1)
    return int(at)


@kernel
def _learn(
    arena: npt.NDArray[np.uint8],
    digest: npt.NDArray[np.uint64],
    entry: npt.NDArray[np.int64],
    text: npt.NDArray[np.uint8],
    key: tuple[int, int, int, int],
) -> int:
    """Know the key (its number, bytes of its first span, where in the arena its bytes go, its value).

    The value that it has already, -1 where it was not known.
    """
    number, a_size, start, value = key
    spans = (0, a_size, a_size, len(text))
    at = _place(arena, digest, entry, number, text, spans)
    if digest[at] != np.uint64(0):
        return int(entry[at, _VALUE])
    digest[at] = _digest(number, text, spans)
    entry[at, _START], entry[at, _NUMBER], entry[at, _VALUE] = start, number, value
    entry[at, _A_SIZE], entry[at, _B_SIZE] = a_size, len(text) - a_size
    for i in range(len(text)):
        arena[start + i] = text[i]
    return -1
