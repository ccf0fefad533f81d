"""Incidents: open anomalies that belong together in time and along the service graph.

1. Services with an open anomaly of at least warning severity that call one another make a group.
2. A group joins the open incident of one of its services or their neighbours (the oldest, and others are merged into
   it); where there is none it opens one.
3. Harm is summed from the first complaint (slower or failing requests) on. After `decide_after_frames` windows the
   cause is decided, and looked at again whenever the window has doubled: first samples mislead, and a cause that
   changes each minute helps nobody. Without a complaint it is the service with the most severe anomalies.
4. An incident only grows while it is open (services, severity), and closes after `incident_gap_s` without an anomaly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pipeline.advise.cause import Harm, rank_causes
from pipeline.advise.facts import qualifying, symptoms, values_of
from pipeline.advise.frames import milliseconds
from pipeline.records import Severity, content_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.advise.frames import Frame, OpenAnomaly
    from pipeline.advise.history import History
    from pipeline.advise.topology import Topology
    from pipeline.settings import AdviseSettings

    Anomalies = Mapping[str, list[OpenAnomaly]]

MAX_ANOMALIES: Final = 200
"""Anomalies that an incident names."""
MAX_REACH: Final = 200
"""Services among which the cause of one incident is looked for."""
SUSPECT: Final = 0.25
"""Share of the unexplained harm that makes a service suspect."""
_GUESS: Final = 0.7
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
    headline: str = ""
    certainty: float = _GUESS
    complaining: list[str] = []
    """Services whose requests got slower or failed: harm is measured from there on, along their calls."""
    suspects: list[str] = []
    """Services with so much unexplained harm that they may be at fault beside the cause."""
    windows: int = 0
    """Intervals since a service joined or began to complain."""
    decided: bool = False
    usual: dict[str, dict[str, float]] = {}
    """By service, what was usual before the incident."""
    harms: dict[str, Harm] = {}
    streaks: dict[str, int] = {}
    """Intervals in a row in which a rule matched, by service and rule."""
    explained: list[str] = []
    """Services of which something more specific than symptoms was found."""
    recommendations: list[str] = []
    announced: bool = False
    changed: bool = True
    """Whether there is something that its last record does not say."""


class IncidentLog(msgspec.Struct):
    """The open incidents, by id; and the incident of each service."""

    open: dict[str, OpenIncident] = {}
    by_service: dict[str, str] = {}


class Incidents:
    """Groups, decides, closes. What changed is marked on the incidents; the stage writes the records."""

    def __init__(
        self, settings: AdviseSettings, topology: Topology, history: History, baseline: Mapping[str, float]
    ) -> None:
        self.log = IncidentLog()
        self.merged: list[tuple[OpenIncident, OpenIncident]] = []
        """Incidents that became part of an older one in this interval, with that one."""
        self.dropped = 0
        self.opened: dict[Severity, int] = dict.fromkeys(Severity, 0)
        self._settings = settings
        self._topology = topology
        self._history = history
        self._baseline = baseline

    def observe(self, end_ms: int, frames: Mapping[str, Frame], active: Anomalies) -> None:
        """Take one interval: all its frames, and the anomalies that count, by service."""
        self.merged = []
        for group in self._topology.groups(active):
            incident = self._incident_for(group, end_ms, active)
            if incident is not None:
                self._extend(incident, group, end_ms, active)
        for incident in self.log.open.values():
            self._measure(incident, end_ms, frames)
            if incident.windows in self._decisions():
                self._decide(incident, active)

    def close(self, end_ms: int) -> list[OpenIncident]:
        """Take out and give the incidents that are over."""
        gap = self._settings.incident_gap_s * 1000.0
        over = [incident for incident in self.log.open.values() if end_ms - incident.last > gap]
        for incident in over:
            self._remove(incident)
        return over

    def usual(self, incident: OpenIncident, service: str, frame: Frame) -> dict[str, float]:
        """What was usual for this service before the incident; kept, so that the incident never becomes usual."""
        known = incident.usual.get(service)
        if known is None:
            expected = {name: signal.expected for name, signal in frame.signals.items() if signal.expected is not None}
            known = {**self._baseline, **expected, **self._history.usual(service, incident.opened)}
            incident.usual[service] = known
        return known

    def _incident_for(self, group: list[str], end_ms: int, active: Anomalies) -> OpenIncident | None:
        by_service = self.log.by_service
        near = dict.fromkeys(group)
        for service in group:
            near.update(dict.fromkeys(self._topology.neighbours(service)))
        found = {by_service[service] for service in near if service in by_service}
        candidates = sorted((self.log.open[identity] for identity in found), key=lambda each: (each.opened, each.id))
        if not candidates:
            return self._open(group, end_ms, active)
        for younger in candidates[1:]:
            self._merge(candidates[0], younger)
        return candidates[0]

    def _open(self, group: list[str], end_ms: int, active: Anomalies) -> OpenIncident | None:
        if len(self.log.open) >= self._settings.max_open_incidents:
            self.dropped += 1
            return None
        anomalies = [anomaly for service in group for anomaly in active[service]]
        opened = min(end_ms, *(milliseconds(anomaly.opened_at) for anomaly in anomalies))
        system = self._topology.system_of(group[0])
        incident = OpenIncident(
            id=content_id("incident", system, group[0], opened, end_ms),
            system=system,
            opened=opened,
            last=end_ms,
            heard=end_ms,
            severity=_worst(anomalies),
            cause=_loudest(group, active),
            certainty=1.0 if len(group) == 1 else _GUESS,
        )
        self.log.open[incident.id] = incident
        self.opened[incident.severity] += 1
        return incident

    def _extend(self, incident: OpenIncident, group: list[str], end_ms: int, active: Anomalies) -> None:
        joined = [service for service in group if service not in incident.services]
        if joined:
            incident.services = sorted({*incident.services, *joined})
            incident.windows = 0
            incident.changed = True
            self.log.by_service.update(dict.fromkeys(joined, incident.id))
        anomalies = [anomaly for service in group for anomaly in active[service]]
        if _worst(anomalies).rank > incident.severity.rank:
            incident.severity = _worst(anomalies)
            incident.changed = True
        complaining = [service for service in group if any(symptoms(active[service]))]
        if not set(complaining) <= set(incident.complaining):
            incident.complaining = sorted({*incident.complaining, *complaining})
            incident.windows = 0
        named = dict.fromkeys([*incident.anomalies, *(anomaly.id for anomaly in anomalies)])
        incident.anomalies = list(named)[:MAX_ANOMALIES]
        incident.last = end_ms
        told = active.get(incident.cause) or active[_loudest(group, active)]
        incident.headline = _headline(told)

    def _merge(self, older: OpenIncident, younger: OpenIncident) -> None:
        self._remove(younger)
        older.services = sorted({*older.services, *younger.services})
        older.anomalies = list(dict.fromkeys([*older.anomalies, *younger.anomalies]))[:MAX_ANOMALIES]
        older.explained = sorted({*older.explained, *younger.explained})
        older.recommendations += younger.recommendations
        older.complaining = sorted({*older.complaining, *younger.complaining})
        older.usual = {**younger.usual, **older.usual}
        older.harms = {**younger.harms, **older.harms}
        older.streaks = {**younger.streaks, **older.streaks}
        older.severity = max(older.severity, younger.severity, key=lambda severity: severity.rank)
        older.windows = 0
        older.changed = True
        self.log.by_service.update(dict.fromkeys(younger.services, older.id))
        self.merged.append((younger, older))

    def _remove(self, incident: OpenIncident) -> None:
        del self.log.open[incident.id]
        for service in incident.services:
            del self.log.by_service[service]

    def _measure(self, incident: OpenIncident, end_ms: int, frames: Mapping[str, Frame]) -> None:
        if any(service in frames for service in incident.services):
            incident.heard = end_ms
            incident.windows += 1
        frame_s = self._history.frame_ms / 1000.0
        for service in self._topology.reach(incident.complaining, MAX_REACH):
            frame = frames.get(service)
            if frame is not None:
                harm = incident.harms.setdefault(service, Harm())
                harm.add(values_of(frame), self.usual(incident, service, frame), frame_s)

    def _decisions(self) -> set[int]:
        first = self._settings.decide_after_frames
        return {first << doubling for doubling in range(12)}

    def _decide(self, incident: OpenIncident, active: Anomalies) -> None:
        ranked = rank_causes(incident.harms, self._topology)
        if ranked:
            cause, certainty = ranked[0].service, ranked[0].certainty
        else:
            here = [service for service in incident.services if service in active]
            cause = _loudest(here, active) if here else incident.cause
            certainty = 1.0 if len(incident.services) == 1 else _GUESS
        incident.suspects = [other.service for other in ranked if other.share >= SUSPECT]
        incident.changed |= not incident.decided or cause != incident.cause
        incident.cause, incident.certainty, incident.decided = cause, certainty, True
        if active.get(cause):
            incident.headline = _headline(active[cause])


def count_anomalies(frames: Mapping[str, Frame]) -> dict[str, list[OpenAnomaly]]:
    """The anomalies that count, by service; services without any are left out."""
    return {
        service: anomalies
        for service, frame in frames.items()
        if frame.anomalies and (anomalies := qualifying(frame.anomalies))
    }


def _worst(anomalies: list[OpenAnomaly]) -> Severity:
    return max((anomaly.severity for anomaly in anomalies), key=lambda severity: severity.rank)


def _loudest(services: list[str], active: Anomalies) -> str:
    """The service with the most severe anomalies; the first by name where several are."""
    return min(
        services,
        key=lambda name: (-_worst(active[name]).rank, -sum(anomaly.score for anomaly in active[name]), name),
    )


def _headline(anomalies: list[OpenAnomaly]) -> str:
    """The worst anomaly in words."""
    worst = min(anomalies, key=lambda anomaly: (-anomaly.severity.rank, -anomaly.score, anomaly.signal, anomaly.id))
    if worst.contributions:
        names = ", ".join(worst.contributions)
        return f"{names} unusual together" if len(worst.contributions) > 1 else f"{names} unusual beside the others"
    observed = "no data" if worst.observed is None else f"{worst.observed:.4g}"
    expected = "" if worst.expected is None else f" (expected {worst.expected:.4g})"
    return f"{worst.signal} {observed}{expected}"
