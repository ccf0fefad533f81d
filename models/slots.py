"""Slot numbers: handed out, given back, and moved together when most of them are free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

_FEW: Final = 1024
"""So few free slots are not worth moving rows for."""


class Slots:
    """Which slot numbers below `used` are taken. The lowest free one is handed out next, so a replay is exact."""

    def __init__(self) -> None:
        self.used = 0
        """All slot numbers that were handed out are below this."""
        self._free: list[int] = []  # descending

    def __len__(self) -> int:
        return self.used - len(self._free)

    def take(self) -> int:
        """A slot number that nobody has."""
        if self._free:
            return self._free.pop()
        self.used += 1
        return self.used - 1

    def give_back(self, slots: npt.NDArray[np.int32]) -> None:
        """These are free, int32[n]."""
        self._free = sorted({*self._free, *slots.tolist()}, reverse=True)

    @property
    def is_sparse(self) -> bool:
        """Whether more are free than taken, and enough to be worth compacting."""
        return len(self._free) > max(_FEW, len(self))

    def compact(self) -> npt.NDArray[np.int32]:
        """Number the taken slots anew from 0, in their order: int32[taken], the old number of each new one."""
        taken = np.ones(self.used, dtype=bool)
        taken[self._free] = False
        keep = np.flatnonzero(taken).astype(np.int32)
        self.used, self._free = len(keep), []
        return keep

    def restore(self, used: int, taken: Iterable[int]) -> None:
        """Become the one in which of the numbers below `used` these are taken."""
        self.used = used
        held = set(taken)
        self._free = [slot for slot in range(used - 1, -1, -1) if slot not in held]


def renumbered(slots: npt.NDArray[np.int32], keep: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Slot numbers after `compact` gave `keep`: int32, shaped as `slots`; -1 stays -1."""
    table = np.full((int(keep[-1]) if len(keep) else -1) + 2, -1, dtype=np.int32)
    table[keep] = np.arange(len(keep), dtype=np.int32)
    result: npt.NDArray[np.int32] = table[slots]
    return result
