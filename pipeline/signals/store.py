"""Every series a partition models: identity to slot, newest value, what the open frame has collected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from models.columns import Columns
from models.slots import Slots
from pipeline.errors import StateError
from pipeline.series import Kind, Series, parse_canonical
from pipeline.signals.advance import BUCKET, COUNTER, DELTA, GAUGE, SERIES_ROW, TALLIES, advance, begin_frame
from pipeline.signals.index import SlotIndex

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

_KINDS = {
    Kind.GAUGE: GAUGE,
    Kind.COUNTER: COUNTER,
    Kind.BUCKET: BUCKET,
    Kind.DELTA: DELTA,
    Kind.DELTA_BUCKET: DELTA,
}
_LAYOUT_VERSION = 1


class SeriesStore:
    """Series by slot, at most `capacity` of them.

    A full store takes no further series until `evict` has made room; what it refuses is counted.
    """

    def __init__(self, capacity: int, gap_ms: int) -> None:
        self.capacity = capacity
        self._gap_ms = gap_ms
        self._index = SlotIndex()
        self._columns = Columns(_LAYOUT_VERSION, {"row": (SERIES_ROW, ()), "identity": ("u8", ())})
        self._canonical: list[bytes | None] = []
        self._slots = Slots()
        self.tally = np.zeros(len(TALLIES), dtype=np.int64)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def rows(self) -> npt.NDArray[Any]:
        """Rows of `SERIES_ROW` by slot."""
        return self._columns["row"]

    @property
    def slots(self) -> int:
        """Slots in use or free: all slot numbers are below this."""
        return self._columns.slots

    @property
    def is_full(self) -> bool:
        """Whether a new series would be refused."""
        return len(self) >= self.capacity

    def lookup(self, identities: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
        """Slot of each identity, -1 where it has none; int32[n]."""
        return self._index.lookup(identities)

    def add(self, identity: int, series: Series) -> int:
        """Slot of a new series. The caller has asked `is_full`."""
        slot = self._slots.take()
        if slot == self._columns.slots:
            self._columns.grow(slot + 1)
            self._canonical.append(None)
        self._columns["row"][slot]["kind"] = _KINDS[series.kind]
        self._columns["identity"][slot] = identity
        self._canonical[slot] = series.canonical()
        self._index.insert(identity, slot)
        return slot

    def read_as(self, slot: int, kind: Kind) -> None:
        """Read the samples of this slot as of this kind from now on."""
        self._columns["row"][slot]["kind"] = _KINDS[kind]

    def series(self, slot: int) -> Series:
        """The series in this slot."""
        canonical = self._canonical[slot]
        if canonical is None:
            raise KeyError(f"slot {slot} holds no series")
        return parse_canonical(canonical)

    def occupied(self) -> Iterator[tuple[int, Series]]:
        """Slots with their series, by slot."""
        for slot, canonical in enumerate(self._canonical):
            if canonical is not None:
                yield slot, parse_canonical(canonical)

    def advance(
        self,
        slots: npt.NDArray[np.int32],
        ts: npt.NDArray[np.int64],
        value: npt.NDArray[np.float64],
        frame_start: int,
    ) -> npt.NDArray[np.float64]:
        """Take samples in order; what learners watch of each (see `pipeline.signals.advance`)."""
        return advance(self.rows, slots, ts, value, frame_start, self._gap_ms, self.tally)

    def begin_frame(self) -> None:
        """Forget what the closed frame has collected."""
        begin_frame(self.rows, self.slots)

    def idle_since(self, before_ms: int, newcomers: int) -> npt.NDArray[np.int32]:
        """Slots to evict: unseen since `before_ms`, and then the least recently seen to make room for `newcomers`."""
        used = self._used()
        last = self.rows["last_ts"][: self.slots]
        idle = used & (last < before_ms)
        missing = min(newcomers, self.capacity) - (self.capacity - len(self)) - int(idle.sum())
        if missing > 0:
            active = np.flatnonzero(used & ~idle)
            idle[active[np.argsort(last[active], kind="stable")[:missing]]] = True
        return np.flatnonzero(idle).astype(np.int32)

    def evict(self, slots: npt.NDArray[np.int32]) -> None:
        """Forget these series and free their slots."""
        if not len(slots):
            return
        self._columns.evict(slots)
        for slot in slots.tolist():
            self._canonical[slot] = None
        self._slots.give_back(slots)
        self._reindex()

    def compact(self) -> npt.NDArray[np.int32] | None:
        """Where few slots are taken, number them anew: the old slot of each new one, int32[taken]; else None."""
        if not self._slots.is_sparse:
            return None
        keep = self._slots.compact()
        self._columns.compact(keep)
        self._canonical = [self._canonical[slot] for slot in keep.tolist()]
        self._reindex()
        return keep

    def _used(self) -> npt.NDArray[np.bool_]:
        # An identity is never 0, and an evicted row is all zero.
        used: npt.NDArray[np.bool_] = self._columns["identity"][: self.slots] != 0
        return used

    def _reindex(self) -> None:
        slots = np.flatnonzero(self._used()).astype(np.int32)
        self._index.rebuild(self._columns["identity"][slots], slots)

    def snapshot(self) -> dict[str, npt.NDArray[np.generic] | bytes]:
        """Copy of the whole state."""
        state: dict[str, npt.NDArray[np.generic] | bytes] = dict(self._columns.snapshot())
        state["canonical"] = msgspec.msgpack.encode(self._canonical)
        state["tally"] = self.tally.copy()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Become the store that gave this snapshot. Raises StateError where it does not fit."""
        columns = {name: part for name, part in state.items() if name not in ("canonical", "tally")}
        try:
            self._columns.restore(columns)
            self._canonical = msgspec.msgpack.decode(state["canonical"], type=list[bytes | None])
            self.tally = np.array(state["tally"])
        except (ValueError, KeyError) as error:
            raise StateError(f"series store: {error}") from error
        taken = [slot for slot, canonical in enumerate(self._canonical) if canonical is not None]
        self._slots.restore(len(self._canonical), taken)
        self._reindex()
