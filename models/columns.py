"""Columnar state with slots: one row a series, one array a column.

A slot that was never used, or was evicted, is all zero bytes; learners choose their fields so that zero
means "as new". That keeps eviction to one assignment and lets the operating system hand out the pages
of a grown column only when they are touched.

A column may be a numpy record (structured) type: values that a kernel reads together then lie together in
memory. A snapshot takes records apart into plain columns, `column.field`, so that whoever stores
it needs to know plain dtypes only.

A layout has a version. A snapshot of an older one goes, version by version, through the migrations that the learner
gives, or is refused; so is one of a later version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Array = npt.NDArray[np.generic]
    Layout = Mapping[str, tuple[npt.DTypeLike, tuple[int, ...]]]
    Migration = Callable[[Mapping[str, Array]], Mapping[str, Array]]

VERSION_KEY: Final = "version"
"""Name of the int64[1] entry of a snapshot that holds the version of its layout."""

_GROWTH: Final = 1.5


class Columns:
    """The rows of many series, as named arrays of equal length.

    `layout` maps a column's name to its dtype and the shape of one row of it: `("f4", (48,))` makes
    float32[slots, 48]. `version` goes into every snapshot. `migrations` maps an older version to what makes of its
    plain columns (as in a snapshot, without `version`) those of the next version.
    """

    def __init__(self, version: int, layout: Layout, migrations: Mapping[int, Migration] | None = None) -> None:
        self.version = version
        self._migrations = migrations or {}
        self.slots = 0
        self._arrays: dict[str, npt.NDArray[Any]] = {
            name: np.zeros((0, *shape), dtype) for name, (dtype, shape) in layout.items()
        }

    def __getitem__(self, column: str) -> npt.NDArray[Any]:
        """Give the live array of a column, at least `slots` rows long; stale after `grow` or `restore`."""
        return self._arrays[column]

    @property
    def bytes_per_slot(self) -> int:
        """Bytes that one series takes over all columns."""
        return sum(a.itemsize * int(np.prod(a.shape[1:], dtype=np.int64)) for a in self._arrays.values())

    def grow(self, slots: int) -> None:
        """Make room for slots below `slots`. Capacity grows by half, so growing one by one stays linear."""
        if slots <= self.slots:
            return
        for name, old in self._arrays.items():
            if slots > len(old):
                new = np.zeros((max(slots, int(len(old) * _GROWTH)), *old.shape[1:]), old.dtype)
                new[: self.slots] = old[: self.slots]
                self._arrays[name] = new
        self.slots = slots

    def evict(self, slots: npt.NDArray[np.int32]) -> None:
        """Make these rows as new.

        Raises IndexError where a slot was never grown.
        """
        self.check(slots)
        for array in self._arrays.values():
            array[slots] = np.zeros((), array.dtype)

    def compact(self, keep: npt.NDArray[np.int32]) -> None:
        """Move the rows `keep` together: row `keep[i]` becomes row i, the others go, and their memory is given back.

        keep int32[n], distinct. Raises IndexError where a slot was never grown.
        """
        self.check(keep)
        self._arrays = {name: array[keep] for name, array in self._arrays.items()}
        self.slots = len(keep)

    def check(self, slots: npt.NDArray[np.int32]) -> None:
        """Refuse slot numbers that have no row: a compiled kernel would not notice.

        Raises IndexError that names the slot and the number of slots.
        """
        if len(slots) and not (slots.min() >= 0 and slots.max() < self.slots):
            wrong = slots.min() if slots.min() < 0 else slots.max()
            raise IndexError(f"slot {wrong} is outside 0..{self.slots - 1}; grow the learner first")

    def snapshot(self) -> dict[str, Array]:
        """Copy of all rows as plain contiguous arrays by name, with `version` as int64[1]."""
        state: dict[str, Array] = {VERSION_KEY: np.array([self.version], np.int64)}
        state.update((name, np.array(part, order="C")) for name, part in self._parts(self._arrays))
        return state

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over the rows of a snapshot, of this version or one that can be migrated.

        Raises ValueError where its version, its columns, their dtypes or shapes are not ours; the rows
        held before stay as they were.
        """
        given = self._migrated(state)
        try:
            slots = self._length(given)
        except ValueError as error:
            theirs = _version(state)
            if theirs == self.version:
                raise
            versions = f"snapshot has version {theirs}, this learner has version {self.version}"
            raise ValueError(f"{versions}; brought to ours, the {error}") from error
        self._arrays = {name: np.zeros((slots, *a.shape[1:]), a.dtype) for name, a in self._arrays.items()}
        self.slots = slots
        for name, live in self._parts(self._arrays):
            live[...] = given[name]

    def _length(self, given: Mapping[str, Array]) -> int:
        """Rows of plain columns that have to be ours."""
        ours = dict(self._parts(self._arrays))
        if set(given) != set(ours):
            raise ValueError(f"snapshot has columns {sorted(given)}, this learner has {sorted(ours)}")
        lengths = {len(given[name]) for name in ours}
        if len(lengths) > 1:
            raise ValueError(f"snapshot has columns of different lengths {sorted(lengths)}")
        for name, live in ours.items():
            _check_fits(name, given[name], live)
        return lengths.pop() if lengths else 0

    def _migrated(self, state: Mapping[str, Array]) -> Mapping[str, Array]:
        """The plain columns of a snapshot in today's layout."""
        if VERSION_KEY not in state:
            raise ValueError(f"snapshot has no version, this learner has version {self.version}")
        theirs = _version(state)
        columns: Mapping[str, Array] = {name: array for name, array in state.items() if name != VERSION_KEY}
        steps = range(theirs, self.version)
        if theirs > self.version or any(version not in self._migrations for version in steps):
            oldest = min((v for v in self._migrations if v < self.version), default=None)
            reads = "" if oldest is None else f" and reads version {oldest} and later"
            raise ValueError(f"snapshot has version {theirs}, this learner has version {self.version}{reads}")
        for version in steps:
            columns = self._migrations[version](columns)
        return columns

    def _parts(self, arrays: Mapping[str, npt.NDArray[Any]]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Give views of the used rows, records taken apart into their fields."""
        for name, array in arrays.items():
            used = array[: self.slots]
            if used.dtype.names is None:
                yield name, used
            else:
                for field in used.dtype.names:
                    yield f"{name}.{field}", used[field]


def _version(state: Mapping[str, Array]) -> int:
    return int(np.asarray(state[VERSION_KEY]).ravel()[0])


def _check_fits(name: str, given: Array, live: npt.NDArray[Any]) -> None:
    if given.dtype != live.dtype or given.shape[1:] != live.shape[1:]:
        raise ValueError(
            f"snapshot column {name} is {given.dtype}{list(given.shape[1:])} a row, "
            f"this learner has {live.dtype}{list(live.shape[1:])}"
        )


class Columnar:
    """A learner that keeps its whole state in `_columns`: the part of the contracts that is about state."""

    version: int
    _columns: Columns

    def grow(self, slots: int) -> None:
        """Make room for slots below `slots`."""
        self._columns.grow(slots)

    def evict(self, slots: npt.NDArray[np.int32]) -> None:
        """Make these rows as new."""
        self._columns.evict(slots)

    def compact(self, keep: npt.NDArray[np.int32]) -> None:
        """Row `keep[i]` becomes row i; memory of the others is given back."""
        self._columns.compact(keep)

    def snapshot(self) -> dict[str, Array]:
        """Copy of the whole state."""
        return self._columns.snapshot()

    def restore(self, state: Mapping[str, Array]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit."""
        self._columns.restore(state)
