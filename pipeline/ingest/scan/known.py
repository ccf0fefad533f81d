"""What is known by its raw bytes: one hash index for every format, open addressing over one arena of bytes.

A key is a number and two spans of bytes. The number says what kind of thing it is and what it is part
of, so that a long message around many points is compared once and not for each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.ingest.scan.compiled import kernel
from pipeline.ingest.scan.words import copy, load64

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

_FNV_OFFSET, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
START, _SIZES, _NUMBER, KNOWN_AS, _DIGEST = range(5)
_COLUMNS = 5
_FEWEST = 1024
_ARENA_BYTES = 256 << 20


JSON_SAMPLE, REMOTE_WRITE, REMOTE_WRITE_2, OTLP_SCOPE, OTLP_METRIC, OTLP_NUMBER, OTLP_HISTOGRAM = range(7)
INFLUX_LINE, INFLUX_FIELD = range(7, 9)
"""Kinds of things that are known: the lowest bits of a key's number."""
_KIND_BITS = 4
_SIZE_BITS = 32


class Arrays(NamedTuple):
    """What is known, as kernels read it.

    arena uint8[bytes], slots int32[places] (number of the entry + 1; 0: empty), entry int64[n, 5]; blocks int64[m]:
    where a key stands for several series, its value is the place of their number, which the series follow. A line's is
    that of its layout: its number as a part, how many fields it has, and of each the place of its name in the arena,
    the name's size, its series.
    """

    arena: npt.NDArray[np.uint8]
    slots: npt.NDArray[np.int32]
    entry: npt.NDArray[np.int64]
    blocks: npt.NDArray[np.int64]


class Held(NamedTuple):
    """How much is held: bytes of the arena, keys, parts, numbers of blocks."""

    used: int
    keys: int
    parts: int
    blocks: int


@kernel
def number_of(kind: int, part_of: int) -> int:
    """A key's number: the kind of thing, and what it is part of (any number from 0)."""
    return kind | part_of << _KIND_BITS


class KnownBytes:
    """Bytes that were met before, each with a value of its own."""

    def __init__(self) -> None:
        self._arena = np.empty(1 << 16, dtype=np.uint8)
        self._keys: dict[bytes, int] = {}
        self._blocks = np.empty(1024, dtype=np.int64)
        self.held = Held(0, 0, 0, 0)
        self._slots = np.zeros(4 * _FEWEST, dtype=np.int32)
        self._entry = np.empty((_FEWEST, _COLUMNS), dtype=np.int64)

    def __len__(self) -> int:
        return self.held.keys + len(self._keys)

    @property
    def is_full(self) -> bool:
        """Whether it holds more bytes than it should."""
        return self.held.used > _ARENA_BYTES

    @property
    def arrays(self) -> Arrays:
        """For a kernel that is called at once: what is learned moves them."""
        return Arrays(self._arena, self._slots, self._entry, self._blocks)

    def learn(self, number: int, a: bytes, b: bytes, value: int) -> int:
        """Know this key by that value; gives the value it has, which is an older one where it was known."""
        self.make_room(1, len(a) + len(b), 0)
        text, used = np.frombuffer(a + b, dtype=np.uint8), self.held.used
        key = (number, len(a), value, used, self.held.keys)
        found = int(_learn(self._arena, self._slots, self._entry, text, key))
        if found >= 0:
            return found
        self.held = self.held._replace(used=used + len(text), keys=self.held.keys + 1)
        return value

    def make_room(self, keys: int, size: int, numbers: int) -> None:
        """For so many more keys, of so many bytes together, and so many numbers in blocks."""
        most = self.held.keys + keys
        if 2 * most > len(self._slots):
            self._slots = np.zeros(1 << (2 * most).bit_length(), dtype=np.int32)
            _fill(self._slots, self._entry, self.held.keys)
        # Nothing outside keeps them, so they may move; to copy them would hold them twice.
        if most > len(self._entry):
            self._entry.resize((most + (most >> 2), _COLUMNS), refcheck=False)
        if self.held.used + size > len(self._arena):
            self._arena.resize(self.held.used + size + (self.held.used + size >> 2), refcheck=False)
        if self.held.blocks + numbers > len(self._blocks):
            self._blocks.resize(self.held.blocks + numbers + (self.held.blocks + numbers >> 2), refcheck=False)

    def key_part(self, key: bytes | None) -> int:
        """The number of a message key as a part: where the key may name the service, all is part of it."""
        part = self._keys.get(key or b"")
        if part is None:
            part = self._keys[key or b""] = self._add_part()
        return part

    def learn_part(self, number: int, a: bytes, b: bytes) -> int:
        """Know what is not a series but holds some, by a number of its own, which is given."""
        found = self.learn(number, a, b, self.held.parts)
        if found == self.held.parts:
            self._add_part()
        return found

    def _add_part(self) -> int:
        part = self.held.parts
        self.held = self.held._replace(parts=part + 1)
        return part

    def learn_block(self, number: int, a: bytes, b: bytes, series: Sequence[int]) -> None:
        """Know what gives several series, in order."""
        start = self.held.blocks
        if self.learn(number, a, b, start) == start:
            end = start + 1 + len(series)
            self.make_room(0, 0, end - start)
            self._blocks[start] = len(series)
            self._blocks[start + 1 : end] = series
            self.held = self.held._replace(blocks=end)


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
    """Hash of the number and two spans."""
    h = (_FNV_OFFSET ^ np.uint64(number)) * _FNV_PRIME
    h = _mixed(_mixed(h, text, spans[0], spans[1]), text, spans[2], spans[3])
    return h ^ h >> np.uint64(32)


@kernel
def _fill(slots: npt.NDArray[np.int32], entry: npt.NDArray[np.int64], count: int) -> None:
    """Put all entries into empty slots."""
    last = np.uint64(len(slots) - 1)
    for number in range(count):
        at = np.int64(np.uint64(entry[number, _DIGEST]) & last)
        while slots[at] != 0:
            at = (at + 1) & np.int64(last)
        slots[at] = number + 1


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
    return find_in(known.arena, known.slots, known.entry, number, text, spans)


@kernel
def find_in(
    arena: npt.NDArray[np.uint8],
    slots: npt.NDArray[np.int32],
    entry: npt.NDArray[np.int64],
    number: int,
    text: npt.NDArray[np.uint8],
    spans: Spans,
) -> int:
    """As `find`, for loops: to take an array out of a tuple, or a row out of one, costs more than to look a key up."""
    at, _ = _slot(arena, slots, entry, number, text, spans)
    return int(entry[slots[at] - 1, KNOWN_AS]) if slots[at] != 0 else -1


@kernel
def _slot(
    arena: npt.NDArray[np.uint8],
    slots: npt.NDArray[np.int32],
    entry: npt.NDArray[np.int64],
    number: int,
    text: npt.NDArray[np.uint8],
    spans: Spans,
) -> tuple[int, np.int64]:
    """The slot of the key, or the empty one where it belongs; and its digest."""
    digest = np.int64(_digest(number, text, spans))
    a_size, b_size = spans[1] - spans[0], spans[3] - spans[2]
    last = np.int64(len(slots) - 1)
    at = digest & last
    while slots[at] != 0:
        one = slots[at] - 1
        if (
            entry[one, _DIGEST] == digest
            and entry[one, _NUMBER] == number
            and entry[one, _SIZES] == (a_size << _SIZE_BITS | b_size)
            and is_same(arena, entry[one, START], text, spans[0], a_size)
            and is_same(arena, entry[one, START] + a_size, text, spans[2], b_size)
        ):
            break
        at = (at + 1) & last
    return int(at), digest


@kernel
def _put(
    arena: npt.NDArray[np.uint8],
    slots: npt.NDArray[np.int32],
    entry: npt.NDArray[np.int64],
    text: npt.NDArray[np.uint8],
    key: tuple[int, Spans, int, int, int],
) -> tuple[int, bool]:
    """The entry of a key, and whether it is new.

    The key is its number, spans and value, and where in the arena its bytes go, and which its entry is, if it is new.
    """
    number, spans, value, used, count = key
    at, digest = _slot(arena, slots, entry, number, text, spans)
    if slots[at] != 0:
        return int(slots[at]) - 1, False
    slots[at] = count + 1
    entry[count, START], entry[count, _NUMBER], entry[count, KNOWN_AS] = used, number, value
    entry[count, _SIZES], entry[count, _DIGEST] = (spans[1] - spans[0]) << _SIZE_BITS | (spans[3] - spans[2]), digest
    copy(text, spans[2], spans[3], arena, copy(text, spans[0], spans[1], arena, used))
    return count, True


@kernel
def _learn(
    arena: npt.NDArray[np.uint8],
    slots: npt.NDArray[np.int32],
    entry: npt.NDArray[np.int64],
    text: npt.NDArray[np.uint8],
    key: tuple[int, int, int, int, int],
) -> int:
    """Know the key (number, bytes of its first span, value, then as `_put` has it).

    The value that it has already, -1 where it was not known.
    """
    number, a_size, value, used, count = key
    at, is_new = _put(arena, slots, entry, text, (number, (0, a_size, a_size, len(text)), value, used, count))
    return -1 if is_new else int(entry[at, KNOWN_AS])


@kernel
def learn_in(
    known: Arrays, number: int, text: npt.NDArray[np.uint8], spans: Spans, value: int, held: Held
) -> tuple[int, Held]:
    """Know the key with this number and these spans by that value, unless it is known; there is room for it.

    Its entry, and how much is held then.
    """
    at, is_new = _put(known.arena, known.slots, known.entry, text, (number, spans, value, held.used, held.keys))
    if not is_new:
        return at, held
    size = spans[1] - spans[0] + spans[3] - spans[2]
    return at, Held(held.used + size, held.keys + 1, held.parts, held.blocks)
