"""Which cell of service row and column has which slot: state that few cells need is kept for those only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from models.columns import Columns
from models.slots import Slots, renumbered

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

_LAYOUT_VERSION = 1


class Rows(Protocol):
    """What is kept by slot."""

    def evict(self, slots: npt.NDArray[np.int32]) -> None:
        """Make these rows as new."""
        ...

    def compact(self, keep: npt.NDArray[np.int32]) -> None:
        """Row `keep[i]` becomes row i."""
        ...


class Cells:
    """A slot for each cell that was ever asked for one, until its service row is evicted."""

    def __init__(self, columns: int) -> None:
        # Slot + 1; 0, as new, is none.
        self._cells = Columns(_LAYOUT_VERSION, {"slot": ("i4", (columns,))})
        self._slots = Slots()

    @property
    def slots(self) -> int:
        """All slot numbers are below this."""
        return self._slots.used

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        self._cells.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32], kept: Rows) -> None:
        """These services are gone, and what is `kept` of them by slot; where few are left, these move together."""
        slots = self._cells["slot"][rows]
        gone = (np.sort(slots[slots > 0]) - 1).astype(np.int32)
        kept.evict(gone)
        self._slots.give_back(gone)
        self._cells.evict(rows)
        if self._slots.is_sparse:
            keep = self._slots.compact()
            self._cells["slot"][: self._cells.slots] = renumbered(self.table(), keep) + 1
            kept.compact(keep)

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
            cells[rows[at], columns[at]] = self._slots.take() + 1
        taken: npt.NDArray[np.int32] = cells[rows, columns] - np.int32(1)
        return taken

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        return {"slots": np.array([self.slots], dtype=np.int64), **self._cells.snapshot()}

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit."""
        self._cells.restore({name: part for name, part in state.items() if name != "slots"})
        self._slots.restore(int(np.asarray(state["slots"])[0]), self.table().ravel().tolist())


def prefixed(**parts: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, npt.NDArray[np.generic]]:
    """The snapshots of several parts as one, `part.name`."""
    return {f"{part}.{name}": value for part, state in parts.items() for name, value in state.items()}


def part_of(state: Mapping[str, npt.NDArray[np.generic]], part: str) -> dict[str, npt.NDArray[np.generic]]:
    """The snapshot of one part again."""
    prefix = f"{part}."
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
