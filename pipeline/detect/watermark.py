"""How far event time has come, when samples arrive over several input partitions that are read at different speeds.

Each input partition of ingest is a *source*. After an outage sources catch up at their own pace, so one may be hours
ahead of another; the watermark is therefore the least of the newest event times of those that still have something
to say. A source that is read to its end says so and is not waited for; neither is one that keeps sending old data
while its records arrive now (a producer whose clock stands still must not stop everybody).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

_STUCK_MS = 300_000
"""So far behind in event time …"""
_CURRENT_MS = 60_000
"""… while arriving this close to the newest arrival: old data, not a backlog."""


class _Source(msgspec.Struct):
    newest: int
    arrival: int
    idle: bool


class SourceClocks:
    """Newest event time (ms) of each source, and the watermark over all of them."""

    def __init__(self, expected: Iterable[str]) -> None:
        self._sources: dict[str, _Source] = {}
        self._awaited = set(expected)
        self.watermark = 0
        """Event time, ms, up to which everything is expected to be here; never falls."""

    def observe(self, source: str, newest: int, arrival: int) -> None:
        """Samples up to `newest` (ms) came from this source in records that arrived at Kafka at `arrival` (ms)."""
        self._awaited.discard(source)
        known = self._sources.get(source)
        if known is None:
            self._sources[source] = _Source(newest, arrival, idle=False)
        else:
            known.newest, known.arrival = max(known.newest, newest), max(known.arrival, arrival)
            known.idle = False
        self._update()

    def rest(self, source: str) -> None:
        """Take note that this source is read to its end."""
        self._awaited.discard(source)
        known = self._sources.get(source)
        if known is not None:
            known.idle = True
        self._update()

    def advance(self, to: int) -> None:
        """Event time is at least here (ms), whatever the sources say."""
        self._awaited.clear()
        self.watermark = max(self.watermark, to)

    @property
    def arrival(self) -> int:
        """When the newest sample of any source arrived at Kafka, ms; 0 before the first."""
        return max((source.arrival for source in self._sources.values()), default=0)

    @property
    def nothing(self) -> bool:
        """Whether every expected source has spoken and none has had a sample."""
        return not self._awaited and not self._sources

    def _update(self) -> None:
        if self._awaited or not self._sources:
            return
        arrival = self.arrival
        newest = max(source.newest for source in self._sources.values())
        waited_for = [
            source.newest
            for source in self._sources.values()
            if not source.idle and not (source.newest < newest - _STUCK_MS and source.arrival >= arrival - _CURRENT_MS)
        ]
        self.watermark = max(self.watermark, min(waited_for, default=newest))

    def snapshot(self) -> dict[str, object]:
        """Copy of the whole state."""
        return {
            "sources": {name: [one.newest, one.arrival, one.idle] for name, one in self._sources.items()},
            "awaited": sorted(self._awaited),
            "watermark": self.watermark,
        }

    def restore(self, state: dict[str, dict[str, tuple[int, int, bool]]]) -> None:
        """Become what gave this snapshot."""
        self._sources = {name: _Source(*one) for name, one in state["sources"].items()}
        self._awaited = set(state["awaited"])
        self.watermark = int(state["watermark"])  # type: ignore[call-overload]  # one number beside two tables
