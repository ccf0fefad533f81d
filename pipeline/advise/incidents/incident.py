"""An incident while it is open: what the stage must remember of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pipeline.records import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_REASONS: Final = 20
SUSPECT: Final = 0.25
"""Share of the unexplained harm that makes a service suspect."""
GUESS: Final = 0.7
"""Certainty of a cause that no harm tells, among several services."""


class OpenIncident(msgspec.Struct):
    """An incident while it is open; times in ms."""

    id: str
    system: str
    opened: int
    last: int
    """End of the last interval with an anomaly."""
    heard: int
    """End of the last interval with a frame of one of its services."""
    severity: Severity
    cause: str
    services: list[str] = []
    anomalies: list[str] = []
    worth_knowing: list[str] = []
    """Anomalies of its services that are no more than that: they date nothing, and keep nothing open."""
    headline: str = ""
    certainty: float = GUESS
    complaining: list[str] = []
    """Services whose requests got slower or failed: harm is measured from there on, along their calls."""
    complained: int | None = None
    """End of the last interval in which a service began to complain."""
    shares: dict[str, float] = {}
    """Share of the unexplained harm by service, the most first."""
    lost: float = 0.0
    """Harm of all services in an interval, when that was measured."""
    patched: bool = False
    """Whether it was put together by time, because the graph lacks a call."""
    windows: int = 0
    """Intervals since a service joined or began to complain."""
    decided: bool = False
    usual: dict[str, dict[str, float]] = {}
    """By service, what was usual before the incident."""
    streaks: dict[str, int] = {}
    """Intervals in a row in which a rule matched, by service and rule."""
    explained: list[str] = []
    """Services of which something more specific than symptoms was found."""
    recommendations: list[str] = []
    order: list[str] = []
    """Its open recommendations, the surest first; who is in it keeps its place unless another is clearly surer."""
    silenced: list[str] = []
    """Services that were not asked in the last interval, for a known reason."""
    known: list[str] = []
    """Reasons why some of its services are not advised on."""
    announced: bool = False
    changed: bool = True
    """Whether there is something that its last record does not say."""

    def name_reasons(self, reasons: Iterable[str]) -> None:
        """Name these known reasons in the incident, each once."""
        for reason in reasons:
            if reason not in self.known and len(self.known) < MAX_REASONS:
                self.known = [*self.known, reason]
                self.changed = True

    @property
    def suspects(self) -> list[str]:
        """Services with so much unexplained harm that they may be at fault beside the cause."""
        return [service for service, share in self.shares.items() if share >= SUSPECT]


class IncidentLog(msgspec.Struct):
    """The open incidents, by id; and the incident of each service."""

    open: dict[str, OpenIncident] = {}
    by_service: dict[str, str] = {}
