"""Series by the very bytes that name them: the index that every compiled scanner looks series up in.

An entry is two spans of bytes (a name and its labels, a line's measurement and a field's name) in a space: what the
same bytes mean in another format, or under another message key, is another series. Labels are decoded once, when a
series is new; from then on its bytes are enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_FNV_OFFSET, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_SPACE, _START, _FIRST, _SECOND, _SERIES = range(5)


class Known(NamedTuple):
    """The index as kernels take it.

    arena uint8[m]: the bytes of all entries. hashes uint64[capacity]: 0 where a place is empty. entries
    int64[capacity, 5]: space, start in the arena, length of the first and the second span, series.
    """

    arena: npt.NDArray[np.uint8]
    hashes: npt.NDArray[np.uint64]
    entries: npt.NDArray[np.int64]


class SpanIndex:
    """Open addressing with linear probing, at most half full."""

    def __init__(self) -> None:
        self._used = 0
        self._count = 0
        self.known = Known(np.zeros(1 << 16, dtype=np.uint8), *_allocate(1024))
        self._spaces: dict[tuple[str, bytes | None], int] = {}

    def __len__(self) -> int:
        return self._count + len(self._spaces)

    def space(self, name: str, key: bytes | None = None) -> int:
        """Number of the space of this name, and of this message key where the key may name the service."""
        return self._spaces.setdefault((name, key), len(self._spaces))

    def learn(self, space: int, first: bytes, second: bytes, series: int) -> None:
        """Know this series by these bytes."""
        size = len(first) + len(second)
        raw = np.frombuffer(first + second, dtype=np.uint8)
        # What a kernel returns is a Python number, and as such too large to pass on.
        h = np.uint64(_digest_of(space, raw))
        if find(self.known, h, space, raw, (0, len(first)), (len(first), size)) >= 0:
            return
        arena = self.known.arena
        while self._used + size > len(arena):
            arena = np.concatenate([arena, np.zeros_like(arena)])
        self.known = self.known._replace(arena=arena)
        arena[self._used : self._used + size] = raw
        self._count += 1
        if 2 * self._count > len(self.known.hashes):
            self._grow()
        entry = np.array([space, self._used, len(first), len(second), series], dtype=np.int64)
        _insert(self.known, h, entry)
        self._used += size

    def _grow(self) -> None:
        old = self.known
        self.known = Known(old.arena, *_allocate(2 * len(old.hashes)))
        for at in np.flatnonzero(old.hashes).tolist():
            _insert(self.known, old.hashes[at], old.entries[at])


def _allocate(capacity: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    return np.zeros(capacity, dtype=np.uint64), np.zeros((capacity, 5), dtype=np.int64)


@numba.njit(cache=True, nogil=True)
def begin_digest(space: int) -> np.uint64:
    """FNV-1a of nothing yet, in this space."""
    return (_FNV_OFFSET ^ np.uint64(space)) * _FNV_PRIME


@numba.njit(cache=True, nogil=True)
def digest(so_far: np.uint64, text: npt.NDArray[np.uint8], at: int, end: int) -> np.uint64:
    """FNV-1a of these bytes as well."""
    h = so_far
    for i in range(at, end):
        h = (h ^ np.uint64(text[i])) * _FNV_PRIME
    return h


@numba.njit(cache=True, nogil=True)
def end_digest(h: np.uint64) -> np.uint64:
    """The digest, its high half mixed into the low one; never 0, which marks an empty place."""
    h ^= h >> np.uint64(32)
    return h if h != np.uint64(0) else np.uint64(1)


@numba.njit(cache=True, nogil=True)
def _digest_of(space: int, raw: npt.NDArray[np.uint8]) -> np.uint64:
    return end_digest(digest(begin_digest(space), raw, 0, len(raw)))


@numba.njit(cache=True, nogil=True)
def _insert(known: Known, h: np.uint64, entry: npt.NDArray[np.int64]) -> None:
    mask = len(known.hashes) - 1
    at = np.int64(h & np.uint64(mask))
    while known.hashes[at] != np.uint64(0):
        at = (at + 1) & mask
    known.hashes[at] = h
    known.entries[at] = entry


@numba.njit(cache=True, nogil=True)
def find(
    known: Known, h: np.uint64, space: int, text: npt.NDArray[np.uint8], first: tuple[int, int], second: tuple[int, int]
) -> int:
    """Series of these two spans (start, end) of the text, whose ended digest is `h`; -1 where there is none."""
    mask = len(known.hashes) - 1
    sizes = first[1] - first[0], second[1] - second[0]
    at = np.int64(h & np.uint64(mask))
    while known.hashes[at] != np.uint64(0):
        entry = known.entries[at]
        if (
            known.hashes[at] == h
            and entry[_SPACE] == space
            and entry[_FIRST] == sizes[0]
            and entry[_SECOND] == sizes[1]
        ):
            start = entry[_START]
            if _same(known.arena, start, text, first) and _same(known.arena, start + sizes[0], text, second):
                return int(entry[_SERIES])
        at = (at + 1) & mask
    return -1


@numba.njit(cache=True, nogil=True)
def _same(arena: npt.NDArray[np.uint8], start: int, text: npt.NDArray[np.uint8], span: tuple[int, int]) -> bool:
    same = True
    for i in range(span[1] - span[0]):
        same = same and arena[start + i] == text[span[0] + i]
    return same
