"""The services of a partition: a row number each, given back when the last series of a service is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt


class ServiceRows:
    """Row numbers by service name, and how many series each has."""

    def __init__(self) -> None:
        self._row: dict[str, int] = {}
        self._names: list[str | None] = []
        self._series: list[int] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._row)

    @property
    def rows(self) -> int:
        """All row numbers are below this."""
        return len(self._names)

    def row(self, service: str) -> int | None:
        """Row of the service, if it has one."""
        return self._row.get(service)

    def name(self, row: int) -> str:
        """Service that has this row."""
        name = self._names[row]
        if name is None:
            raise KeyError(f"row {row} holds no service")
        return name

    def alive(self) -> npt.NDArray[np.bool_]:
        """bool[rows]: whether the row holds a service."""
        return np.array([name is not None for name in self._names], dtype=bool)

    def by_name(self) -> list[tuple[str, int]]:
        """Services with their rows, by name."""
        return sorted(self._row.items())

    def join(self, service: str) -> tuple[int, bool]:
        """One more series of this service: its row, and whether the service is new."""
        row = self._row.get(service)
        if row is not None:
            self._series[row] += 1
            return row, False
        row = self._free.pop() if self._free else len(self._names)
        if row == len(self._names):
            self._names.append(None)
            self._series.append(0)
        self._names[row], self._series[row] = service, 1
        self._row[service] = row
        return row, True

    def leave(self, services: Iterable[str]) -> list[tuple[str, int]]:
        """One series less of each of these (a service may occur often); names and rows of those that have none now."""
        freed = []
        for service in services:
            row = self._row[service]
            self._series[row] -= 1
            if self._series[row] == 0:
                del self._row[service]
                self._names[row] = None
                freed.append((service, row))
        self._free = sorted({*self._free, *(row for _, row in freed)}, reverse=True)
        return sorted(freed)

    def snapshot(self) -> list[tuple[str | None, int]]:
        """Names and series counts by row."""
        return list(zip(self._names, self._series, strict=True))

    def restore(self, state: Iterable[tuple[str | None, int]]) -> None:
        """Become what gave this snapshot."""
        entries = list(state)
        self._names = [name for name, _ in entries]
        self._series = [count for _, count in entries]
        self._row = {name: row for row, name in enumerate(self._names) if name is not None}
        self._free = [row for row in range(len(entries) - 1, -1, -1) if self._names[row] is None]
