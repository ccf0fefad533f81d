"""Which slot a series has: an open-addressing hash index from 64-bit identities to slot numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_EMPTY = np.uint64(0)
_LOAD = 0.6


class SlotIndex:
    """Identities (uint64, never 0) to slots (int32), with linear probing at a load below 0.6."""

    def __init__(self) -> None:
        self._count = 0
        self._allocate(1024)

    def _allocate(self, capacity: int) -> None:
        self._keys = np.zeros(capacity, dtype=np.uint64)
        self._slots = np.full(capacity, -1, dtype=np.int32)

    def __len__(self) -> int:
        return self._count

    def lookup(self, identities: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
        """Slot of each identity, -1 where it has none; int32[n]."""
        return _lookup(self._keys, self._slots, identities)

    def insert(self, identity: int, slot: int) -> None:
        """Give a new identity its slot."""
        self._count += 1
        if self._count > _LOAD * len(self._keys):
            self._rehash(2 * len(self._keys))
        _insert(self._keys, self._slots, np.uint64(identity), np.int32(slot))

    def rebuild(self, identities: npt.NDArray[np.uint64], slots: npt.NDArray[np.int32]) -> None:
        """Hold exactly these."""
        capacity = 1024
        while len(identities) > _LOAD * capacity / 2:
            capacity *= 2
        self._allocate(capacity)
        self._count = len(identities)
        _insert_all(self._keys, self._slots, identities, slots)

    def _rehash(self, capacity: int) -> None:
        keys, slots = self._keys, self._slots
        used = keys != _EMPTY
        self._allocate(capacity)
        _insert_all(self._keys, self._slots, keys[used], slots[used])


@numba.njit(cache=True, nogil=True)
def _place(keys: npt.NDArray[np.uint64], identity: np.uint64) -> int:
    """Position of the identity, or of the empty place where it belongs."""
    mask = np.uint64(len(keys) - 1)
    # Fibonacci hashing: identities are hashes already, but a caller's need not be.
    at = (identity * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(20)) & mask
    while keys[at] != np.uint64(0) and keys[at] != identity:
        at = (at + np.uint64(1)) & mask
    return int(at)


@numba.njit(cache=True, nogil=True)
def _lookup(
    keys: npt.NDArray[np.uint64], slots: npt.NDArray[np.int32], identities: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int32]:
    found = np.empty(len(identities), dtype=np.int32)
    for i in range(len(identities)):
        at = _place(keys, identities[i])
        found[i] = slots[at] if keys[at] == identities[i] else np.int32(-1)
    return found


@numba.njit(cache=True, nogil=True)
def _insert(keys: npt.NDArray[np.uint64], slots: npt.NDArray[np.int32], identity: np.uint64, slot: np.int32) -> None:
    at = _place(keys, identity)
    keys[at] = identity
    slots[at] = slot


@numba.njit(cache=True, nogil=True)
def _insert_all(
    keys: npt.NDArray[np.uint64],
    slots: npt.NDArray[np.int32],
    identities: npt.NDArray[np.uint64],
    targets: npt.NDArray[np.int32],
) -> None:
    for i in range(len(identities)):
        at = _place(keys, identities[i])
        keys[at] = identities[i]
        slots[at] = targets[i]
