"""Every series of a partition, known to all who must know it: store, signals, learners, services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline.detect.detectors.watch import WatchedSeries
from pipeline.detect.services import ServiceRows
from pipeline.errors import StateError
from pipeline.series import SERVICE_LABEL, Series, parse_canonical
from pipeline.signals.store import SeriesStore
from pipeline.signals.table import SignalTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from pipeline.batch import SampleBatch
    from pipeline.detect.configuration import DetectConfiguration


class Departed(NamedTuple):
    """Who left: series, and services (name and the row that is free now) whose last series it was."""

    series: Sequence[Series]
    services: Sequence[tuple[str, int]]


class SeriesRegistry:
    """Takes series in as they appear and lets go of those that are idle, or the oldest when there are too many.

    A full registry refuses new series until the end of the frame, when the least recently seen make room: so what
    is modelled depends on the log alone, and memory has a bound at every moment.
    """

    def __init__(self, configuration: DetectConfiguration) -> None:
        settings = configuration.settings
        self._definitions = configuration.definitions
        self._idle_ms = round(settings.series_idle_s * 1000)
        self.store = SeriesStore(configuration.max_series, round(settings.gap_s * 1000))
        self.table = SignalTable(configuration.definitions)
        self.watched = WatchedSeries(configuration.bank)
        self.services = ServiceRows()
        self._new_rows: list[tuple[int, str]] = []
        self.refused = 0
        """Series without a place, each once a frame, and at most as many a frame as there are places."""
        self._newcomers: set[int] = set()
        self._service_of = np.zeros(0, dtype=np.int32)

    def resolve(self, batch: SampleBatch) -> npt.NDArray[np.int32]:
        """Slot of each sample's series, int32[n]; -1 where the series is not modelled."""
        slots = self.store.lookup(batch.series)
        unknown = slots < 0
        if not unknown.any():
            return slots
        # Labels come with the first row of a series in a message; a series refused there has none later on.
        labelled = np.flatnonzero(unknown & batch.labels.is_valid().to_numpy(zero_copy_only=False))
        admitted = self._admit(batch, labelled)
        if not admitted:
            return slots
        slots = self.store.lookup(batch.series)
        since = np.zeros(self.store.slots, dtype=np.int64)
        since[list(admitted)] = list(admitted.values())
        # Rows from before their series was known stay without one: so it would be, had the poll ended between.
        slots[since[slots] > np.arange(len(slots))] = -1
        return slots

    def _admit(self, batch: SampleBatch, labelled: npt.NDArray[np.int64]) -> dict[int, int]:
        """Take in what there is room for, in the order of the log: new slots, and the row from which each counts."""
        admitted: dict[int, int] = {}
        known: set[int] = set()
        for place, row in enumerate(labelled.tolist()):
            if self.store.is_full:
                self._refuse(batch.series[labelled[place:]])
                break
            identity = int(batch.series[row])
            if identity not in known and (slot := self._add(identity, batch.labels[row].as_py())) is not None:
                known.add(identity)
                admitted[slot] = row
        return admitted

    def _refuse(self, identities: npt.NDArray[np.uint64]) -> None:
        """Note who asked for a place; beyond the capacity further ones would move nobody."""
        absent = identities[self.store.lookup(identities) < 0]
        before = len(self._newcomers)
        for identity in dict.fromkeys(absent.tolist()):
            if len(self._newcomers) >= self.store.capacity:
                break
            self._newcomers.add(identity)
        self.refused += len(self._newcomers) - before

    def _add(self, identity: int, canonical: bytes) -> int | None:
        """Slot of a new series; None where nobody can read its labels."""
        try:
            series = self.table.aliases.as_read(parse_canonical(canonical))
        except ValueError:
            return None
        slot = self.store.add(identity, series)
        row, is_new = self.services.join(series.service)
        if is_new:
            self._new_rows.append((row, series.service))
        self._attach(slot, series, row)
        return slot

    def _attach(self, slot: int, series: Series, row: int) -> None:
        used = self.table.add(slot, series, row)
        self.watched.grow(self.store.slots)
        if slot >= len(self._service_of):
            grown = np.full(max(1024, 2 * len(self._service_of)), -1, dtype=np.int32)
            grown[: len(self._service_of)] = self._service_of
            self._service_of = grown
        self._service_of[slot] = row
        if not used and not series.kind.is_bucket and self._definitions.watches(series.name):
            self.watched.add(slot)

    def take_new_rows(self) -> list[tuple[int, str]]:
        """Services that got a row since the last call."""
        new, self._new_rows = self._new_rows, []
        return new

    def sampled(self) -> npt.NDArray[np.bool_]:
        """bool[service rows]: whether any series of the service had a sample in this frame."""
        slots = np.flatnonzero(self.store.rows["seen"][: self.store.slots])
        counts = np.bincount(self._service_of[slots], minlength=self.services.rows)
        result: npt.NDArray[np.bool_] = counts > 0
        return result

    def let_go(self, now: int) -> Departed:
        """At the end of a frame (ms): evict what is idle or must make room."""
        slots = self.store.idle_since(now - self._idle_ms, len(self._newcomers))
        self._newcomers.clear()
        if not len(slots):
            return Departed((), ())
        series = [self.store.series(slot) for slot in slots.tolist()]
        self.table.remove(slots)
        self.watched.evict(slots)
        self.store.evict(slots)
        self._compact()
        return Departed(series, self.services.leave([one.service for one in series]))

    def _compact(self) -> None:
        """After many series are gone the others move together; what is kept by slot moves along."""
        keep = self.store.compact()
        if keep is not None:
            self.table.compact(keep)
            self.watched.compact(keep)
            self._service_of = self._service_of[keep]

    def snapshot(self) -> dict[str, Any]:
        """Copy of the whole state."""
        return {
            "services": self.services.snapshot(),
            "new_rows": list(self._new_rows),
            "refused": self.refused,
            "newcomers": sorted(self._newcomers),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what gave this snapshot, once `store` and `watched` are restored. Raises StateError."""
        try:
            self.services.restore(state["services"])
            self._new_rows = [(row, service) for row, service in state["new_rows"]]
            self.refused = state["refused"]
            self._newcomers = set(state["newcomers"])
        except (KeyError, ValueError) as error:
            raise StateError(f"series registry: {error!r}") from error
        for slot, series in self.store.occupied():
            row = self.services.row(series.labels[SERVICE_LABEL])
            if row is None:
                raise StateError(f"series registry: service {series.service!r} of slot {slot} has no row")
            self._restore_slot(slot, series, row)

    def _restore_slot(self, slot: int, series: Series, row: int) -> None:
        # An alias that came after the snapshot may know better.
        self.store.read_as(slot, self.table.aliases.kind(series))
        self.table.add(slot, series, row)
        if slot >= len(self._service_of):
            self._service_of = np.resize(self._service_of, max(self.store.slots, slot + 1))
        self._service_of[slot] = row
