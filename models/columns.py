"""Columnar state with slots: one row a series, one array a column.

A slot that was never used, or was evicted, is all zero bytes; learners choose their fields so that zero
means "as new". That keeps eviction to one assignment and lets the operating system hand out the pages
of a grown column only when they are touched.

A column may be a numpy record (structured) type: values that a kernel reads together then lie together in
memory. A snapshot takes records apart into plain columns, `column.field`, so that whoever stores
it needs to know plain dtypes only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Array = npt.NDArray[np.generic]
    Layout = Mapping[str, tuple[npt.DTypeLike, tuple[int, ...]]]

VERSION_KEY: Final = "version"
"""Name of the int64[1] entry of a snapshot that holds the version of its layout."""

_GROWTH: Final = 1.5


class Columns:
    """The rows of many series, as named arrays of equal length.

    `layout` maps a column's name to its dtype and the shape of one row of it: `("f4", (48,))` makes
    float32[slots, 48]. `version` goes into every snapshot.
    """

    def __init__(self, version: int, layout: Layout) -> None:
        self.version = version
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
        """Take over the rows of a snapshot.

        Raises ValueError where its version, its columns, their dtypes or shapes are not ours; the rows
        held before stay as they were.
        """
        self._check_version(state)
        ours = dict(self._parts(self._arrays))
        theirs = set(state) - {VERSION_KEY}
        if theirs != set(ours):
            raise ValueError(f"snapshot has columns {sorted(theirs)}, this learner has {sorted(ours)}")
        lengths = {len(state[name]) for name in ours}
        if len(lengths) > 1:
            raise ValueError(f"snapshot has columns of different lengths {sorted(lengths)}")
        for name, live in ours.items():
            _check_fits(name, state[name], live)
        slots = lengths.pop() if lengths else 0
        self._arrays = {name: np.zeros((slots, *a.shape[1:]), a.dtype) for name, a in self._arrays.items()}
        self.slots = slots
        for name, live in self._parts(self._arrays):
            live[...] = state[name]

    def _check_version(self, state: Mapping[str, Array]) -> None:
        if VERSION_KEY not in state:
            raise ValueError(f"snapshot has no version, this learner has version {self.version}")
        version = int(np.asarray(state[VERSION_KEY]).ravel()[0])
        if version != self.version:
            raise ValueError(f"snapshot has version {version}, this learner has version {self.version}")

    def _parts(self, arrays: Mapping[str, npt.NDArray[Any]]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Give views of the used rows, records taken apart into their fields."""
        for name, array in arrays.items():
            used = array[: self.slots]
            if used.dtype.names is None:
                yield name, used
            else:
                for field in used.dtype.names:
                    yield f"{name}.{field}", used[field]


def _check_fits(name: str, given: Array, live: npt.NDArray[Any]) -> None:
    if given.dtype != live.dtype or given.shape[1:] != live.shape[1:]:
        raise ValueError(
            f"snapshot column {name} is {given.dtype}{list(given.shape[1:])} a row, "
            f"this learner has {live.dtype}{list(live.shape[1:])}"
        )
