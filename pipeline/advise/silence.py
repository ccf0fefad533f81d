"""Known reasons: what is expected, refused or explained by something else makes no advice; the incident names them.

1. Mutes: anomalies of a quietened signal are taken out, unless they are critical.
2. Maintenance: services within a window are not advised on.
3. Dependencies down: a service that calls one that sends no data, or fails half of its requests, is not advised on, and
   what is down is the cause. Where its own PostgreSQL or Redis is down, only rules about that speak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.advise.incidents.grouping import NO_DATA
from pipeline.advise.symptoms import qualifying, symptoms
from pipeline.detect.frame import WHOLE_SERVICE_SIGNAL
from pipeline.records import Severity, from_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.advise.control import ControlLog
    from pipeline.advise.frames import Frame, OpenAnomaly
    from pipeline.advise.incidents.topology import Topology
    from pipeline.advise.outcomes.windows import Trial
    from pipeline.advise.rules.judge import Match

_FAILING: Final = 0.5
"""Share of failures from which a service counts as down."""
_UP: Final = {"pg.up": "postgresql", "redis.up": "redis"}
_SAME_CHANGE_MS: Final = 120_000
"""A change event so soon after a change was made speaks of that change, or of the restart that it needs."""


class Silence:
    """Knows the reasons of one interval."""

    def __init__(self, control: ControlLog, topology: Topology, frame_ms: int) -> None:
        self.control = control
        self.muted = 0
        self.quietened: dict[str, list[str]] = {}
        """What was quietened in this interval and would have counted, in words, by service."""
        self.silenced = 0
        self._topology = topology
        self._frame_ms = frame_ms

    def sift(self, frames: Mapping[str, Frame], end_ms: int) -> None:
        """Take anomalies of quietened signals out of the frames."""
        self.quietened = {}
        if not self.control.mutes:
            return
        for frame in frames.values():
            kept = [
                anomaly
                for anomaly in frame.anomalies
                if anomaly.severity is Severity.CRITICAL
                or self.control.muted(frame.service, anomaly.signal, end_ms) is None
            ]
            self.muted += len(frame.anomalies) - len(kept)
            self._note_muted(frame, [each for each in qualifying(frame.anomalies) if each not in kept], end_ms)
            frame.anomalies = kept

    def _note_muted(self, frame: Frame, anomalies: list[OpenAnomaly], end_ms: int) -> None:
        for signal in sorted({anomaly.signal for anomaly in anomalies}):
            mute = self.control.muted(frame.service, signal, end_ms)
            if mute is not None:
                why = f" ({mute.reason})" if mute.reason else ""
                told = f"{signal} of {frame.service} is muted{why}, until {from_ms(mute.until):%Y-%m-%d %H:%M} UTC"
                self.quietened.setdefault(frame.service, []).append(told)

    def down(self, frames: Mapping[str, Frame]) -> dict[str, str]:
        """Services that are down, with what shows it."""
        found = {}
        for service, frame in frames.items():
            if frame.anomalies and qualifying(frame.anomalies) and (reason := _down(frame)):
                found[service] = reason
        return found

    def reasons(self, service: str, down: Mapping[str, str], end_ms: int) -> list[str]:
        """Why this service is not advised on; none where it is."""
        found = [
            f"maintenance of {service}: {window.reason or window.id}, until {from_ms(window.end):%Y-%m-%d %H:%M} UTC"
            for window in self.control.windows_of(service, end_ms - self._frame_ms, end_ms)
        ]
        found += [
            f"{service} depends on {callee}, which is down: {down[callee]}"
            for callee in self._topology.callees(service)
            if callee in down
        ]
        self.silenced += bool(found)
        return found

    def disturbed(
        self, trial: Trial, frames: Mapping[str, Frame], end_ms: int, *, by_callees: bool = True, own: bool = True
    ) -> bool:
        """Whether something beside a change was going on: maintenance, another change, trouble of a callee's own.

        Callees are left out where `by_callees` is false: the service's harm is known to be its own. Where the change
        was not the service's `own`, an event soon before or after it speaks of another.
        """
        if self.control.windows_of(trial.service, end_ms - self._frame_ms, end_ms):
            return True
        since = trial.at + (_SAME_CHANGE_MS if own else -_SAME_CHANGE_MS)
        if self.control.between([trial.service], since, end_ms):
            return True
        if not by_callees:
            return False
        callees = (frames[name] for name in self._topology.callees(trial.service) if name in frames)
        return any(
            any(symptoms([anomaly for anomaly in callee.anomalies if anomaly.began > trial.at])) for callee in callees
        )


def of_backends_down(matches: list[Match], frame: Frame) -> tuple[list[Match], list[str]]:
    """Only the matches about a backend of the service that is down, and that it is; all where none is."""
    gone = {
        component
        for signal, component in _UP.items()
        if (value := frame.signals.get(signal)) is not None and value.value is not None and value.value < 0.5
    }
    if not gone:
        return matches, []
    kept = [match for match in matches if match.entry.rule.target.component in gone]
    return kept, [f"{component} of {frame.service} is down" for component in sorted(gone)]


def _down(frame: Frame) -> str:
    if any(anomaly.signal == WHOLE_SERVICE_SIGNAL for anomaly in frame.anomalies):
        return NO_DATA
    errors, availability = frame.signals.get("http.error_ratio"), frame.signals.get("http.availability")
    failing = max(
        errors.value if errors and errors.value is not None else 0.0,
        1.0 - availability.value if availability and availability.value is not None else 0.0,
    )
    return f"{failing:.0%} of its requests fail" if failing >= _FAILING else ""
