"""Every deploy is judged like an applied recommendation: windows before and after it.

1. A deploy event opens a trial of its service. The next one of that service takes its place.
2. Errors or latency worse `decide_after_frames` intervals in a row: the deploy regressed; the larger the change, the
   sooner (harm.py). It is compared with what was just before, so that older trouble neither hides nor excuses it. From
   then on, as long as it is, that counts as an anomaly of the service, found by the detector `deploy`: so it makes an
   incident even where nothing else flags it, and the rule that rolls back speaks.
3. `deploy_watch_s` without: fine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pipeline.advise.frames import OpenAnomaly
from pipeline.advise.outcomes.harm import LATENCY_MS, Look, harmed_by
from pipeline.advise.outcomes.windows import MAX_INTERVALS, MIN_INTERVALS, Trial
from pipeline.advise.rules.catalogue import GUARDS
from pipeline.records import Direction, Outcome, Severity, content_id, from_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipeline.advise.control import Change
    from pipeline.advise.frames import Frame
    from pipeline.advise.outcomes.harm import Harmed
    from pipeline.advise.outcomes.verification import Disturbed
    from pipeline.advise.outcomes.windows import Windows
    from pipeline.settings import AdviseSettings

_SCORE: Final = 0.9
_FORGET_MS: Final = 86_400_000
RULE: Final = "deploy"
"""What stands for the rule in a deploy's outcome, and for the detector of what got worse."""


class DeployTrial(msgspec.Struct):
    """A deploy under watch; `at` in ms."""

    change: str
    at: int
    trial: Trial | None = None
    judged: int = 0
    """Undisturbed intervals since."""
    regressed: bool = False


class Deploys:
    """The deploys under watch, one a service at most."""

    def __init__(
        self,
        settings: AdviseSettings,
        windows: Windows,
        signals: Mapping[str, str],
        frame_ms: int,
        disturbed: Disturbed,
    ) -> None:
        self.trials: dict[str, DeployTrial] = {}
        self._patience = settings.decide_after_frames
        self._watch_ms = round(settings.deploy_watch_s * 1000)
        self._limit = settings.max_services
        self._windows = windows
        self._guards = [name for name in GUARDS if name in signals]
        self._frame_ms = frame_ms
        self._disturbed = disturbed

    def note(self, change: Change) -> None:
        """Watch a deploy from now on; other changes are none of it. A repeated event says nothing new."""
        known = self.trials.get(change.service)
        if change.kind != "deploy" or (known is not None and known.at >= change.at):
            return
        if known is None and len(self.trials) >= self._limit:
            return
        self.trials[change.service] = DeployTrial(change=change.id, at=change.at)

    def undecided(self, service: str, now: int) -> bool:
        """Whether a deploy is so recent that what is wrong with the service may yet turn out to be its doing."""
        deploy = self.trials.get(service)
        soon = LATENCY_MS + self._patience * self._frame_ms
        return deploy is not None and not deploy.regressed and 0 <= now - deploy.at < soon

    def follow(self, frames: Mapping[str, Frame], now: int, write: Callable[[int, Outcome], None]) -> None:
        """Look at each with the frames of the interval that ends now; what regressed is added to their anomalies."""
        for service, deploy in list(self.trials.items()):
            if deploy.at > now:
                continue
            for outcome in self._look(service, deploy, frames, now):
                write(now, outcome)

    def _look(self, service: str, deploy: DeployTrial, frames: Mapping[str, Frame], now: int) -> Iterator[Outcome]:
        if deploy.trial is None:
            began = deploy.at - MAX_INTERVALS * self._frame_ms
            deploy.trial = self._windows.open(service, deploy.at, self._guards, began, began)
        trial, frame = deploy.trial, frames.get(service)
        harmed = None
        if frame is not None and now - self._frame_ms >= deploy.at:
            if self._disturbed(trial, frames, now):
                trial.disturb(now)
            else:
                deploy.judged += 1
                harmed = harmed_by(self._windows, trial, Look(now, self._frame_ms))
                trial.count(frame, harmed=harmed is not None)
        if harmed and frame is not None and trial.harmed >= self._patience:
            if not deploy.regressed:
                deploy.regressed = True
                yield self._outcome(service, deploy, trial, now, harmed)
            _flag(frame, deploy, harmed, trial)
        over = now - deploy.at >= self._watch_ms and deploy.judged >= MIN_INTERVALS
        if over and not deploy.regressed and not trial.harmed:
            yield self._outcome(service, deploy, trial, now, None)
            del self.trials[service]
        elif now - deploy.at >= _FORGET_MS:
            del self.trials[service]

    def _outcome(self, service: str, deploy: DeployTrial, trial: Trial, now: int, harmed: Harmed | None) -> Outcome:
        signal = harmed.signal if harmed else self._guards[0] if self._guards else ""
        compared = [
            self._windows.compared(name, trial.before.get(name, []), self._windows.after(trial, name, deploy.at))
            for name in dict.fromkeys([signal, *self._guards])
            if name
        ]
        result = "regressed" if harmed else "fine"
        return Outcome(
            id=content_id("deploy", service, deploy.change, result),
            recommendation="",
            change=deploy.change,
            rule=RULE,
            service=service,
            at=from_ms(now),
            result=result,
            signal=signal,
            before=compared[0].before if compared else None,
            after=compared[0].after if compared else None,
            compared=compared,
            disturbed=len(trial.disturbed),
            note=f"since the deploy {harmed.text}" if harmed else "neither errors nor latency rose after the deploy",
        )


def _flag(frame: Frame, deploy: DeployTrial, harmed: Harmed, trial: Trial) -> None:
    """Add the regression to the frame's anomalies; where its signal is flagged since, say that it was the deploy."""
    since = [
        each
        for each in frame.anomalies
        if each.signal == harmed.signal and each.severity is not Severity.INFO and each.began >= deploy.at
    ]
    if since:
        for each in since:
            each.detectors = [*each.detectors, RULE]
        return
    value = frame.signals.get(harmed.signal)
    before = sorted(trial.before.get(harmed.signal, []))
    anomaly = OpenAnomaly(
        id=content_id("deploy", frame.service, deploy.change, harmed.signal),
        signal=harmed.signal,
        severity=Severity.WARNING,
        direction=Direction.UP,
        score=_SCORE,
        detectors=[RULE],
        opened_at=from_ms(deploy.at),
        observed=None if value is None else value.value,
        expected=before[len(before) // 2] if before else None,
    )
    frame.anomalies = [*frame.anomalies, anomaly]
