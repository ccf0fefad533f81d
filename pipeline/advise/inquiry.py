"""Asking the rules about an incident: the facts of each of its services, and which rules hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.advise.outcomes.deploys import RULE as DEPLOY
from pipeline.advise.rules.facts import Facts, with_defaults
from pipeline.advise.rules.judge import Place
from pipeline.advise.rules.rule import Tier
from pipeline.advise.silence import of_backends_down
from pipeline.advise.symptoms import complaints, symptoms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.advise.forecasts import Forecasts
    from pipeline.advise.frames import Frame
    from pipeline.advise.history import History
    from pipeline.advise.incidents.grouping import Incidents
    from pipeline.advise.incidents.incident import OpenIncident
    from pipeline.advise.incidents.topology import Topology
    from pipeline.advise.outcomes.deploys import Deploys
    from pipeline.advise.rules.judge import Judge, Match
    from pipeline.advise.silence import Silence


class Inquiry:
    """Puts the facts together that the judge needs."""

    def __init__(
        self,
        judge: Judge,
        incidents: Incidents,
        topology: Topology,
        forecasts: Forecasts,
        silence: Silence,
        deploys: Deploys,
        change_window_ms: int,
    ) -> None:
        self._judge = judge
        self._incidents = incidents
        self._topology = topology
        self._forecasts = forecasts
        self._silence = silence
        self._deploys = deploys
        self._change_window_ms = change_window_ms
        self._catalogue = judge.catalogue
        self._trending = judge.catalogue.trend_signals()
        self._history: History = incidents.history
        self._frame_ms = incidents.history.frame_ms

    def matches(
        self, incident: OpenIncident, frames: Mapping[str, Frame], down: Mapping[str, str], end_ms: int
    ) -> list[Match] | None:
        """Rules that hold for services of the incident; None where none of them was heard, or may be advised on.

        Known reasons not to advise are named in the incident.
        """
        matches: list[Match] = []
        incident.silenced = []
        heard = False
        for service in sorted({*incident.services, incident.cause}):
            frame = frames.get(service)
            if frame is None:
                continue
            reasons = self._silence.reasons(service, down, end_ms)
            incident.name_reasons([*reasons, *self._silence.quietened.get(service, ())])
            if reasons:
                incident.silenced.append(service)
                continue
            heard = True
            if frame.anomalies or service == incident.cause:
                place = Place(service == incident.cause, incident.certainty, service in incident.suspects)
                found, reasons = of_backends_down(
                    self._judge.matches(self._facts(incident, frame, frames), place), frame
                )
                incident.name_reasons(reasons)
                # What looks unexplained so soon after a deploy may be the deploy's doing; its windows will tell.
                undecided = self._deploys.undecided(service, end_ms)
                matches += [match for match in found if not (undecided and match.entry.rule.tier is Tier.GENERIC)]
        return matches if heard else None

    def _facts(self, incident: OpenIncident, frame: Frame, frames: Mapping[str, Frame]) -> Facts:
        service = frame.service
        settings, assumed = with_defaults(frame.settings, self._catalogue.settings)
        onset = _onset_of(incident, frame)
        callees = [] if self._incidents.own(service) else self._topology.callees(service)
        called = [symptoms(frames[callee].anomalies) for callee in callees if callee in frames]
        return Facts(
            service=service,
            frame=frame,
            settings=settings,
            assumed=assumed,
            usual=self._incidents.usual(incident, service, frame),
            trends=self._history.trends(service, self._trending),
            peaks=self._history.peaks(service),
            callees_slow=any(slow for slow, _ in called),
            callees_failing=any(failing for _, failing in called),
            until={name: each.expected_s for name, each in self._forecasts.until(service).items()},
            runs_out=self._forecasts.records(service, frame.ends),
            latest=self._silence.control.latest(service, onset - self._change_window_ms, onset, onset + self._frame_ms),
        )


def _onset_of(incident: OpenIncident, frame: Frame) -> int:
    """When the service's own trouble began (ms): one that joins an incident late may have a cause of its own.

    What users feel tells, where they do: a disk that has been filling for a day says nothing of requests that are slow
    since a minute. What got worse since a deploy began with it, whatever else was wrong before.
    """
    told = complaints(frame.anomalies) or frame.anomalies
    began = min((anomaly.began for anomaly in told), default=incident.opened)
    since_deploy = [anomaly.began for anomaly in frame.anomalies if DEPLOY in anomaly.detectors]
    return max(began, incident.opened, *since_deploy)
