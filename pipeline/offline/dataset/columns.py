"""What the tables' collectors share: a window of event time, and columns of Arrow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from pipeline.offline.dataset.writer import Rows
    from pipeline.stage import InputRecord


@dataclass(frozen=True, slots=True)
class Window:
    """Event times (ms) from `start` up to, not including, `end`; None is open."""

    start: int | None = None
    end: int | None = None

    def holds(self, ts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """bool[n]: which of these are within."""
        inside = np.ones(len(ts), dtype=bool)
        if self.start is not None:
            inside &= ts >= self.start
        if self.end is not None:
            inside &= ts < self.end
        return inside

    def has(self, ts: int) -> bool:
        """Whether this one is within."""
        return (self.start is None or ts >= self.start) and (self.end is None or ts < self.end)


class Collector(Protocol):
    """Collects the rows that the records of a topic hold."""

    rows: int

    @property
    def full(self) -> bool:
        """Whether the rows should be taken now: memory has a bound."""
        ...

    def add(self, record: InputRecord, window: Window) -> int | None:
        """Take what of a record lies within the window; the newest event time in it (ms), None where it has none.

        Raises ValueError where it cannot be read.
        """
        ...

    def take(self) -> Iterator[Rows]:
        """The rows, which are forgotten here."""
        ...


def words(texts: Sequence[str], index: npt.NDArray[np.integer]) -> pa.DictionaryArray:
    """`texts[index[i]]` for each i, as a dictionary of the different texts in order."""
    different, code = np.unique(np.asarray(texts, dtype=object), return_inverse=True)
    codes = code.astype(np.int32)[index]
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(different.tolist(), type=pa.string()))


def null_where_nan(value: npt.NDArray[np.float64]) -> pa.Array:
    """float64[n] with null in place of NaN."""
    return pa.array(value, from_pandas=True)
