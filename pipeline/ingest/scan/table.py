"""The table of series: their columns by index, found by identity, placed many at once in compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from pipeline.ingest.scan.blake2b import BLOCK, blake2b
from pipeline.ingest.scan.compiled import kernel
from pipeline.ingest.scan.words import copy

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.series import Frame

_IDENTITY, _START, _SIZE, _PARTITION = range(4)
_COLUMNS = 4
_BRACKET: Final = ord("]")
_FEWEST: Final = 1024
_TOGETHER: Final = 512
"""Series that are placed at once: room is made for as many, though they may be known."""


class SeriesTable(Sequence[bytes]):
    """Series by index, as a sequence of their canonical bytes, and their other columns."""

    def __init__(self) -> None:
        self._columns = np.empty((_COLUMNS, _FEWEST), dtype=np.int64)
        self._slots = np.zeros(4 * _FEWEST, dtype=np.int32)
        self._arena = np.empty(1 << 16, dtype=np.uint8)
        self._count = 0
        self._used = 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        """Canonical bytes of a series. Raises IndexError."""
        if not 0 <= index < self._count:
            raise IndexError(index)
        start, size = self._columns[_START, index], self._columns[_SIZE, index]
        return self._arena[start : start + size].tobytes()

    @property
    def identity(self) -> npt.NDArray[np.uint64]:
        """uint64[len]: identity of each series."""
        return self._columns[_IDENTITY, : self._count].view(np.uint64)

    @property
    def partition(self) -> npt.NDArray[np.int64]:
        """int64[len]: partition of each series."""
        return self._columns[_PARTITION, : self._count]

    @property
    def size(self) -> npt.NDArray[np.int64]:
        """int64[len]: bytes of each series' canonical form."""
        return self._columns[_SIZE, : self._count]

    def canonical(self, index: npt.NDArray[np.int64]) -> pa.BinaryArray:
        """Canonical bytes of these series."""
        ends = np.zeros(len(index) + 1, dtype=np.int32)
        np.cumsum(self._columns[_SIZE, index], out=ends[1:])
        data = np.empty(ends[-1], dtype=np.uint8)
        _gather(index, self._columns, self._arena, data)
        return pa.BinaryArray.from_buffers(pa.binary(), len(index), [None, pa.py_buffer(ends), pa.py_buffer(data)])

    def find(self, identity: int) -> int | None:
        """Index of the series with this identity, if it is known."""
        slot = int(_slot(np.uint64(identity), self._columns, self._slots))
        return int(self._slots[slot]) - 1 if self._slots[slot] else None

    def place(self, frame: Frame, labels: bytes, partition: int) -> int:
        """Index of the series of this frame with these labels, told by its identity; a new one is added."""
        hashed, before, after = map(len, frame)
        whole = b"".join((*frame, labels))
        self._make_room(1, len(whole))
        begin = hashed + before + after
        spans = (0, hashed, hashed + before, begin, begin, len(whole))
        held = (self._count, self._used, partition)
        index = _place(np.frombuffer(whole, np.uint8), spans, self._columns, self._slots, (self._arena, held))
        if index == self._count:
            self._count += 1
            self._used += before + after + len(labels)
        return int(index)

    def place_all(
        self, text: bytes | bytearray, runs: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Indexes int64[n] of many series, as `place` gives each.

        The text has for each run of series of the same frame the three parts of that, then the labels of each. runs
        int64[m, 6]: bytes of the parts, how many series, bytes of the labels of each (beside its own), their partition;
        sizes int64[n]: bytes of the labels of each of its own.
        """
        whole, found = np.frombuffer(text, np.uint8), np.empty(len(sizes), dtype=np.int64)
        done = 0
        while done < len(sizes):
            before, arrays = done, (self._columns, self._slots, self._arena)
            held = (done, self._count, self._used)
            done, self._count, self._used = _place_all(whole, (runs, sizes, found), arrays, held)
            if done == before:
                self._make_room(min(len(sizes) - done, _TOGETHER), len(text))
        return found

    def _make_room(self, series: int, size: int) -> None:
        """For so many more series, of so many bytes together."""
        most = self._count + series
        if most > self._columns.shape[1]:
            columns = np.empty((_COLUMNS, 2 * most), dtype=np.int64)
            columns[:, : self._count] = self._columns[:, : self._count]
            self._columns = columns
        if 2 * most > len(self._slots):
            self._slots = np.zeros(1 << (4 * most).bit_length(), dtype=np.int32)
            _fill(self._columns, self._slots, self._count)
        # What is hashed stands there first, in whole blocks.
        need = self._used + size + 2 * BLOCK
        if need > len(self._arena):
            # Nothing outside has a part of it, so it may move; to copy it would hold it twice.
            self._arena.resize(need + (need >> 2), refcheck=False)


@kernel
def _slot(identity: np.uint64, columns: npt.NDArray[np.int64], slots: npt.NDArray[np.int32]) -> int:
    """Where among the slots (index + 1; 0: empty) this identity is, or belongs."""
    last = np.int64(len(slots) - 1)
    at = np.int64(identity & np.uint64(last))
    while slots[at] != 0 and np.uint64(columns[_IDENTITY, slots[at] - 1]) != identity:
        at = (at + 1) & last
    return int(at)


@kernel
def _fill(columns: npt.NDArray[np.int64], slots: npt.NDArray[np.int32], count: int) -> None:
    """Put all series into empty slots."""
    for index in range(count):
        slots[_slot(np.uint64(columns[_IDENTITY, index]), columns, slots)] = index + 1


@kernel
def _place(
    text: npt.NDArray[np.uint8],
    spans: tuple[int, int, int, int, int, int],
    columns: npt.NDArray[np.int64],
    slots: npt.NDArray[np.int32],
    held: tuple[npt.NDArray[np.uint8], tuple[int, int, int]],
) -> int:
    """Index of one series, the number of series where it was added; `held`: arena, series and bytes, its partition."""
    arena, (count, used, partition) = held
    frame, hashed_end, before_end, after_end, begin, end = spans
    at = copy(text, frame, hashed_end, arena, used)
    at = copy(text, begin, end, arena, at)
    arena[at] = _BRACKET
    identity = blake2b(arena, used, at + 1 - used)
    if identity == np.uint64(0):  # which marks an empty place elsewhere
        identity = np.uint64(1)
    slot = _slot(identity, columns, slots)
    if slots[slot] != 0:
        return int(slots[slot]) - 1
    at = copy(text, hashed_end, before_end, arena, used)
    at = copy(text, begin, end, arena, at)
    at = copy(text, before_end, after_end, arena, at)
    columns[_IDENTITY, count] = np.int64(identity)
    columns[_START, count] = used
    columns[_SIZE, count] = at - used
    columns[_PARTITION, count] = partition
    slots[slot] = count + 1
    return count


@kernel
def _place_all(
    text: npt.NDArray[np.uint8],
    rows: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]],
    arrays: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.uint8]],
    held: tuple[int, int, int],
) -> tuple[int, int, int]:
    """Indexes of many series into the last of `rows`, from one on; how far there was room, and what is held then."""
    runs, sizes, found = rows
    columns, slots, arena = arrays
    done, count, used = held
    row, end = 0, 0
    for run in range(len(runs)):
        frame = end
        hashed_end = frame + runs[run, 0]
        before_end = hashed_end + runs[run, 1]
        end = after_end = before_end + runs[run, 2]
        for _ in range(runs[run, 3]):
            begin, end = end, end + runs[run, 4] + sizes[row]
            if row >= done:
                size = end - begin + after_end - frame
                if count >= columns.shape[1] or 2 * count >= len(slots) or used + size + 2 * BLOCK > len(arena):
                    return row, count, used
                spans = (frame, hashed_end, before_end, after_end, begin, end)
                index = _place(text, spans, columns, slots, (arena, (count, used, runs[run, 5])))
                if index == count:
                    used += columns[_SIZE, index]
                    count += 1
                found[row] = index
            row += 1
    return row, count, used


@kernel
def _gather(
    index: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    arena: npt.NDArray[np.uint8],
    data: npt.NDArray[np.uint8],
) -> None:
    """Canonical bytes of these series, one after the other."""
    at = 0
    for row in range(len(index)):
        start = columns[_START, index[row]]
        at = copy(arena, start, start + columns[_SIZE, index[row]], data, at)
