"""What people and tools say beside the data: changes that were made, and windows in which deviations are expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.records import to_ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.records import ChangeEvent, MaintenanceWindow, Muting


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
    reason: str = ""


class Mute(msgspec.Struct):
    """Until then (ms) this signal of the service makes no incident, unless it is critical."""

    until: int
    reason: str


class ControlLog(msgspec.Struct):
    """Changes and maintenance windows, by id: a repeated record says the same thing once. Mutes, by what they mute."""

    changes: dict[str, Change] = {}
    windows: dict[str, Window] = {}
    mutes: dict[str, Mute] = {}
    """By service (empty: all) and signal."""

    def note_mute(self, muting: Muting, limit: int) -> None:
        """Remember it; beyond `limit` the one that ends first is forgotten."""
        for signal in muting.signals:
            self.mutes[_mute_key(muting.service, signal)] = Mute(to_ms(muting.until), muting.reason)
        while len(self.mutes) > limit:
            del self.mutes[min(self.mutes, key=lambda key: (self.mutes[key].until, key))]

    def muted(self, service: str, signal: str, now_ms: int) -> Mute | None:
        """The mute that holds for this signal of the service."""
        for key in (_mute_key(service, signal), _mute_key("", signal)):
            mute = self.mutes.get(key)
            if mute is not None and mute.until > now_ms:
                return mute
        return None

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
            id=window.id,
            start=to_ms(window.start),
            end=to_ms(window.end),
            services=list(window.services),
            reason=window.reason,
        )
        if len(self.windows) > limit:
            del self.windows[min(self.windows.values(), key=lambda known: (known.end, known.id)).id]

    def windows_of(self, service: str, start_ms: int, end_ms: int) -> list[Window]:
        """The windows of this service that overlap the interval, by id."""
        return [
            window
            for _, window in sorted(self.windows.items())
            if window.start < end_ms and start_ms < window.end and (not window.services or service in window.services)
        ]

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
        if any(mute.until < before_ms for mute in self.mutes.values()):
            self.mutes = {key: mute for key, mute in self.mutes.items() if mute.until >= before_ms}


def _mute_key(service: str, signal: str) -> str:
    return f"{service}\x1f{signal}"
