"""What people and tools say beside the data: changes that were made, and windows in which deviations are expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.records import to_ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.records import ChangeEvent, MaintenanceWindow


class Change(msgspec.Struct):
    """A deploy, a configuration change, a scaling; `at` in ms."""

    at: int
    id: str
    service: str
    kind: str
    version: str
    previous_version: str
    summary: str


class Window(msgspec.Struct):
    """From `start` to `end` (ms) these services are not advised on; no services: all."""

    id: str
    start: int
    end: int
    services: list[str]


class ControlLog(msgspec.Struct):
    """Changes and maintenance windows, by id: a repeated record says the same thing once."""

    changes: dict[str, Change] = {}
    windows: dict[str, Window] = {}

    def note_change(self, event: ChangeEvent, limit: int) -> Change:
        """Remember it and give it; beyond `limit` the oldest is forgotten."""
        change = self.changes[event.id] = Change(
            at=to_ms(event.at),
            id=event.id,
            service=event.service,
            kind=event.change,
            version=event.version or "",
            previous_version=event.previous_version or "",
            summary=event.summary,
        )
        if len(self.changes) > limit:
            del self.changes[min(self.changes.values(), key=lambda known: (known.at, known.id)).id]
        return change

    def note_window(self, window: MaintenanceWindow, limit: int) -> None:
        """Remember it; beyond `limit` the one that ends first is forgotten."""
        self.windows[window.id] = Window(
            id=window.id, start=to_ms(window.start), end=to_ms(window.end), services=list(window.services)
        )
        if len(self.windows) > limit:
            del self.windows[min(self.windows.values(), key=lambda known: (known.end, known.id)).id]

    def silenced(self, service: str, start_ms: int, end_ms: int) -> bool:
        """Whether a window of this service overlaps the interval."""
        return any(
            window.start < end_ms and start_ms < window.end and (not window.services or service in window.services)
            for window in self.windows.values()
        )

    def between(self, services: Iterable[str], start_ms: int, end_ms: int) -> list[Change]:
        """Changes to these services within the interval, ends included, oldest first."""
        names = set(services)
        return sorted(
            (change for change in self.changes.values() if change.service in names and start_ms <= change.at <= end_ms),
            key=lambda change: (change.at, change.id),
        )

    def latest(self, service: str, start_ms: int, onset_ms: int, end_ms: int) -> dict[str, dict[str, Any]]:
        """The last change of each kind within the interval, as the rules read it; ages are taken at the onset."""
        return {
            change.kind: {
                "id": change.id,
                "version": change.version,
                "previous_version": change.previous_version,
                "summary": change.summary,
                "age_s": max(0.0, (onset_ms - change.at) / 1000.0),
            }
            for change in self.between([service], start_ms, end_ms)
        }

    def forget(self, before_ms: int) -> None:
        """Drop changes made, and windows that ended, before then."""
        if any(change.at < before_ms for change in self.changes.values()):
            self.changes = {key: change for key, change in self.changes.items() if change.at >= before_ms}
        if any(window.end < before_ms for window in self.windows.values()):
            self.windows = {key: window for key, window in self.windows.items() if window.end >= before_ms}
