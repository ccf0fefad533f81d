"""Which cell of service row and column has which slot: state that few cells need is kept for those only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.columns import Columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

_LAYOUT_VERSION = 1


class Cells:
    """A slot for each cell that was ever asked for one, until its service row is evicted."""

    def __init__(self, columns: int) -> None:
        # Slot + 1; 0, as new, is none.
        self._cells = Columns(_LAYOUT_VERSION, {"slot": ("i4", (columns,))})
        self._free: list[int] = []
        self.slots = 0
        """All slot numbers are below this."""

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        self._cells.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """These services are gone; the slots that are free now, in order."""
        slots = self._cells["slot"][rows]
        gone = np.sort(slots[slots > 0]) - np.int32(1)
        # Highest first, so that the lowest free slot is given out next.
        self._free = sorted({*self._free, *gone.tolist()}, reverse=True)
        self._cells.evict(rows)
        return gone.astype(np.int32)

    def table(self) -> npt.NDArray[np.int32]:
        """Slot of every cell, -1 where it has none; int32[rows, columns]."""
        table: npt.NDArray[np.int32] = self._cells["slot"][: self._cells.slots] - np.int32(1)
        return table

    def of(self, row: int, column: int) -> int:
        """Slot of this cell, -1 where it has none."""
        return int(self._cells["slot"][row, column]) - 1

    def take(self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Slots of these cells; those that have none are given one, in this order."""
        cells = self._cells["slot"]
        for at in np.flatnonzero(cells[rows, columns] == 0).tolist():
            if self._free:
                slot = self._free.pop()
            else:
                slot = self.slots
                self.slots += 1
            cells[rows[at], columns[at]] = slot + 1
        taken: npt.NDArray[np.int32] = cells[rows, columns] - np.int32(1)
        return taken

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        return {"slots": np.array([self.slots], dtype=np.int64), **self._cells.snapshot()}

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit."""
        self._cells.restore({name: part for name, part in state.items() if name != "slots"})
        self.slots = int(np.asarray(state["slots"])[0])
        taken = set(self.table().ravel().tolist())
        self._free = [slot for slot in range(self.slots - 1, -1, -1) if slot not in taken]


def prefixed(**parts: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, npt.NDArray[np.generic]]:
    """The snapshots of several parts as one, `part.name`."""
    return {f"{part}.{name}": value for part, state in parts.items() for name, value in state.items()}


def part_of(state: Mapping[str, npt.NDArray[np.generic]], part: str) -> dict[str, npt.NDArray[np.generic]]:
    """The snapshot of one part again."""
    prefix = f"{part}."
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
