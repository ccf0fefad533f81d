"""Incidents: open anomalies that belong together in time and along the service graph.

1. Services with an open anomaly of at least warning severity that call one another make a group.
2. A group joins the open incident of one of its services or their neighbours (the oldest, and others are merged into
   it); where there is none it opens one.
3. Harm is summed from the last new complaint (slower or failing requests) on. After `decide_after_frames` windows the
   cause is decided, and looked at again whenever the window has doubled: first samples mislead, and a cause that
   changes each minute helps nobody. Without a complaint it is the service with the most severe anomalies.
4. Incidents whose complaints begin within those windows of each other, in services that hang together over others,
   are one: a call between them is missing from the graph, and certainty is capped.
5. What is only worth knowing of its services meanwhile is named apart, and dates nothing.
6. An incident only grows while it is open (services, severity), and closes after `incident_gap_s` without an anomaly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline import quantities as fmt
from pipeline.advise.incidents.cause import HARM_SIGNALS, Harm, measure, rank_causes, unexplained
from pipeline.advise.incidents.incident import GUESS, IncidentLog, OpenIncident
from pipeline.advise.symptoms import qualifying, symptoms, worth_knowing
from pipeline.records import Severity, content_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.advise.frames import Frame, OpenAnomaly
    from pipeline.advise.history import History
    from pipeline.advise.incidents.topology import Topology
    from pipeline.settings import AdviseSettings

    Anomalies = Mapping[str, list[OpenAnomaly]]

MAX_ANOMALIES: Final = 200
"""Anomalies that an incident names."""
MAX_REACH: Final = 200
"""Services among which the cause of one incident is looked for."""
MAX_SUSPECTS: Final = 10
"""Services that an incident names as possible causes."""
NO_DATA: Final = "it sends no data"
"""Why a service is down whose harm nobody can measure; one that fails is ranked by its harm like any other."""
MAX_WINDOWS: Final = 8
"""Intervals over which harm is summed at most: what came before tells of an earlier state."""
OWN_SHARE: Final = 0.8
"""Share of the unexplained harm from which a service's trouble is its own, whatever its callees complain of."""
DOWN_CERTAINTY: Final = 0.9
_NEAR: Final = 0.02
"""A signal so near to what is expected, as a share of it, is back."""
_RENEWED: Final = 2.0
"""So many times the harm that was there must come from elsewhere before the cause is looked for again."""
"""Certainty that a service that is down causes what its callers suffer."""


class Incidents:
    """Groups, decides, closes. What changed is marked on the incidents; the stage writes the records."""

    def __init__(
        self,
        settings: AdviseSettings,
        topology: Topology,
        history: History,
        baseline: Mapping[str, float],
        units: Mapping[str, str],
    ) -> None:
        self.log = IncidentLog()
        self.merged: list[tuple[OpenIncident, OpenIncident]] = []
        """Incidents that became part of an older one in this interval, with that one."""
        self.dropped = 0
        self._down: Mapping[str, str] = {}
        self.opened: dict[Severity, int] = dict.fromkeys(Severity, 0)
        self._settings = settings
        self._topology = topology
        self.history = history
        self._baseline = baseline
        self._units = units

    def observe(self, end_ms: int, frames: Mapping[str, Frame], active: Anomalies, down: Mapping[str, str]) -> None:
        """Take one interval: all its frames, the anomalies that count by service, and what is down for what reason."""
        self.merged = []
        self._down = down
        for group in self._topology.groups(active):
            incident = self._incident_for(group, end_ms, active)
            if incident is not None:
                self._extend(incident, group, end_ms, active)
        self._join_in_time(end_ms)
        for incident in self.log.open.values():
            _note_aside(incident, frames)
            if any(service in frames for service in incident.services):
                incident.heard = end_ms
                incident.windows += 1
            if self._begins_to_suffer(incident, end_ms, frames):
                incident.windows = 1
            if incident.windows in self._decisions():
                self._decide(incident, end_ms, frames, active)

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
            known = {**self._baseline, **expected, **self.history.usual(service, incident.opened)}
            incident.usual[service] = known
        return known

    def own(self, service: str) -> bool:
        """Whether nearly all harm of the service's incident is known to be its own, since the last new complaint."""
        incident = self.log.open.get(self.log.by_service.get(service, ""))
        return (
            incident is not None
            and incident.decided
            and incident.windows >= self._settings.decide_after_frames
            and incident.shares.get(service, 0.0) >= OWN_SHARE
        )

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
        opened = min(end_ms, *(anomaly.began for anomaly in anomalies))
        system = self._topology.system_of(group[0])
        incident = OpenIncident(
            id=content_id("incident", system, group[0], opened, end_ms),
            system=system,
            opened=opened,
            last=end_ms,
            heard=end_ms,
            severity=_worst(anomalies),
            cause=_loudest(group, active),
            certainty=1.0 if len(group) == 1 else GUESS,
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
            incident.complained = end_ms
            incident.windows = 0
        named = dict.fromkeys([*incident.anomalies, *(anomaly.id for anomaly in anomalies)])
        incident.anomalies = list(named)[:MAX_ANOMALIES]
        incident.last = end_ms
        told = active.get(incident.cause) or active[_loudest(group, active)]
        incident.headline = _headline(told, self._units)

    def _join_in_time(self, end_ms: int) -> None:
        """Merge what began to complain in this interval with what did shortly before, over a call nobody knows."""
        patience = self._settings.decide_after_frames * self.history.frame_ms
        fresh = [each for each in self.log.open.values() if each.complained == end_ms]
        recent = [
            each
            for each in self.log.open.values()
            if each.complained is not None and end_ms - each.complained < patience
        ]
        for newcomer in fresh:
            part = self._topology.component(newcomer.complaining[0])
            for other in recent:
                apart = other.id != newcomer.id and {other.id, newcomer.id} <= self.log.open.keys()
                if apart and part is not None and part == self._topology.component(other.complaining[0]):
                    older, younger = sorted((other, newcomer), key=lambda each: (each.opened, each.id))
                    self._merge(older, younger)
                    older.patched = True

    def _merge(self, older: OpenIncident, younger: OpenIncident) -> None:
        self._remove(younger)
        older.services = sorted({*older.services, *younger.services})
        older.anomalies = list(dict.fromkeys([*older.anomalies, *younger.anomalies]))[:MAX_ANOMALIES]
        older.worth_knowing = _beside(older.anomalies, [*older.worth_knowing, *younger.worth_knowing])
        older.explained = sorted({*older.explained, *younger.explained})
        older.recommendations += younger.recommendations
        older.order += younger.order
        older.complaining = sorted({*older.complaining, *younger.complaining})
        older.complained = max((at for at in (older.complained, younger.complained) if at is not None), default=None)
        older.patched |= younger.patched
        older.usual = {**younger.usual, **older.usual}
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

    def _begins_to_suffer(self, incident: OpenIncident, end_ms: int, frames: Mapping[str, Frame]) -> bool:
        """Whether a service that was no suspect does more harm now than all did in an interval when that was decided.

        Its cause is then to be found anew: anomalies of a passing disturbance stay open for a while, so that what
        breaks then joins nothing new.
        """
        if not incident.decided or incident.windows <= self._settings.decide_after_frames:
            return False
        suspects = set(incident.suspects)
        added = {service: harm.lost for service, harm in self._measure(incident, end_ms, frames, 1).items()}
        others = (harm for service, harm in unexplained(added, self._topology).items() if service not in suspects)
        return max(others, default=0.0) > _RENEWED * incident.lost

    def _measure(
        self, incident: OpenIncident, end_ms: int, frames: Mapping[str, Frame], windows: int
    ) -> dict[str, Harm]:
        """Harm of the services that complain and of all they call, over so many of the newest windows."""
        frame_ms = self.history.frame_ms
        since = end_ms - min(windows, MAX_WINDOWS) * frame_ms
        harms = {}
        for service in self._topology.reach(incident.complaining, MAX_REACH):
            values, ends = self.history.values(service, HARM_SIGNALS)
            frame = frames.get(service)
            usual = self._baseline if frame is None else self.usual(incident, service, frame)
            window, healthy = values[ends > since], values[ends <= incident.opened]
            harms[service] = measure(window, healthy, usual, frame_ms / 1000.0)
        return harms

    def _decisions(self) -> set[int]:
        first = self._settings.decide_after_frames
        return {first << doubling for doubling in range(12)}

    def _decide(self, incident: OpenIncident, end_ms: int, frames: Mapping[str, Frame], active: Anomalies) -> None:
        dead = self._topology.deepest(service for service in incident.services if self._down.get(service) == NO_DATA)
        if dead:
            incident.changed |= not incident.decided or dead != incident.cause
            incident.cause, incident.certainty, incident.decided = dead, DOWN_CERTAINTY, True
            incident.headline = f"it is down: {self._down[dead]}"
            return
        harms = self._measure(incident, end_ms, frames, incident.windows)
        ranked = rank_causes(harms, self._topology, complete=not incident.patched)
        if ranked:
            cause, certainty = ranked[0].service, ranked[0].certainty
        else:
            here = [service for service in incident.services if service in active]
            cause = _loudest(here, active) if here else incident.cause
            certainty = 1.0 if len(incident.services) == 1 else GUESS
        incident.lost = sum(harm.lost for harm in harms.values()) / incident.windows
        incident.shares = {other.service: round(other.share, 4) for other in ranked[:MAX_SUSPECTS]}
        incident.changed |= not incident.decided or cause != incident.cause
        incident.cause, incident.certainty, incident.decided = cause, certainty, True
        if active.get(cause):
            incident.headline = _headline(active[cause], self._units)


def count_anomalies(frames: Mapping[str, Frame]) -> dict[str, list[OpenAnomaly]]:
    """The anomalies that count, by service; services without any are left out."""
    return {
        service: anomalies
        for service, frame in frames.items()
        if frame.anomalies and (anomalies := qualifying(frame.anomalies))
    }


def _note_aside(incident: OpenIncident, frames: Mapping[str, Frame]) -> None:
    """Name what is only worth knowing of its services in this interval; what has become more is its own by now."""
    here = (frames[service] for service in incident.services if service in frames)
    found = [anomaly.id for frame in here for anomaly in worth_knowing(frame.anomalies)]
    incident.worth_knowing = _beside(incident.anomalies, [*incident.worth_knowing, *found])


def _beside(own: list[str], others: list[str]) -> list[str]:
    mine = set(own)
    return [each for each in dict.fromkeys(others) if each not in mine][:MAX_ANOMALIES]


def _worst(anomalies: list[OpenAnomaly]) -> Severity:
    return max((anomaly.severity for anomaly in anomalies), key=lambda severity: severity.rank)


def _loudest(services: list[str], active: Anomalies) -> str:
    """The service with the most severe anomalies; the first by name where several are."""
    return min(
        services,
        key=lambda name: (-_worst(active[name]).rank, -sum(anomaly.score for anomaly in active[name]), name),
    )


def _returned(anomaly: OpenAnomaly) -> bool:
    """Whether its signal is where it is expected again: it stays open a while, and says nothing of what is wrong."""
    if anomaly.observed is None or anomaly.expected is None or anomaly.contributions:
        return False
    return abs(anomaly.observed - anomaly.expected) <= _NEAR * abs(anomaly.expected)


def _headline(anomalies: list[OpenAnomaly], units: Mapping[str, str]) -> str:
    """The worst anomaly in words; `units` are those of signals, raw series have none that is known."""
    worst = min(
        anomalies,
        key=lambda anomaly: (_returned(anomaly), -anomaly.severity.rank, -anomaly.score, anomaly.signal, anomaly.id),
    )
    if worst.contributions:
        names = ", ".join(worst.contributions)
        return f"{names} unusual together" if len(worst.contributions) > 1 else f"{names} unusual beside the others"
    unit = units.get(worst.signal, "")
    observed = "no data" if worst.observed is None else fmt.value(worst.observed, unit)
    expected = "" if worst.expected is None else f" (expected {fmt.value(worst.expected, unit)})"
    return f"{worst.signal} {observed}{expected}"
