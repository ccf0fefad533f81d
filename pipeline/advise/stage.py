"""The advise stage: frames and control records in; incidents, recommendations and outcomes out.

For each frame interval, once all live sources have passed it:

1. learn the frames into the services' recent history
2. group what is anomalous into incidents, sum up harm, decide causes
3. ask the rules about the services of open incidents; keep the standing recommendations in line
4. verify what was applied; expire what nobody answered
5. close incidents that are over
6. write what changed

Everything follows from the log. Feedback is taken where it stands in it: it answers what its author has read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pipeline.advise import snapshots
from pipeline.advise.advisor import Advisor
from pipeline.advise.control import ControlLog
from pipeline.advise.forecasts import Forecasts
from pipeline.advise.frames import Frame, Message, Tick, Watermark, milliseconds, read
from pipeline.advise.history import History
from pipeline.advise.incidents.credibility import Credibility
from pipeline.advise.incidents.grouping import Incidents, count_anomalies
from pipeline.advise.inquiry import Inquiry
from pipeline.advise.intervals import IntervalQueue
from pipeline.advise.outcomes.answers import Answers
from pipeline.advise.outcomes.deploys import Deploys
from pipeline.advise.outcomes.standing import Board
from pipeline.advise.outcomes.verification import Pace, Verifier
from pipeline.advise.outcomes.windows import Windows
from pipeline.advise.reporting import Around, Reporter
from pipeline.advise.rules.judge import Judge
from pipeline.advise.rules.lessons import Lessons
from pipeline.advise.silence import Silence
from pipeline.errors import SettingsError
from pipeline.records import ChangeEvent, Feedback, MaintenanceWindow, Muting, SourceIdle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.advise.incidents.incident import OpenIncident
    from pipeline.advise.incidents.topology import Topology
    from pipeline.advise.outcomes.windows import Trial
    from pipeline.advise.rules.catalogue import Catalogue
    from pipeline.settings import AdviseSettings
    from pipeline.stage import InputRecord, Output, SnapshotState

MAX_SLOTS: Final = 720
"""Intervals of history at most: an hour at 5 s."""
_USUAL_HISTORY_S: Final = 3600.0
_FORGET_EVERY_MS: Final = 3_600_000


def history_slots(settings: AdviseSettings, frame_s: float) -> int:
    """Intervals of history that the settings ask for. Raises SettingsError where these are more than are kept."""
    if settings.history_s is None:
        return min(MAX_SLOTS, round(_USUAL_HISTORY_S / frame_s))
    slots = round(settings.history_s / frame_s)
    if slots > MAX_SLOTS:
        raise SettingsError(
            f"advise.history_s: {settings.history_s:g} s are {slots} frames of {frame_s:g} s, "
            f"and {MAX_SLOTS} are kept; set advise.history_s to {MAX_SLOTS * frame_s:g} at most, "
            f"or detect.frame_s to {settings.history_s / MAX_SLOTS:g} at least"
        )
    return slots


class AdviseStage:
    """One partition of `duri.frames`.

    `sources`: how many source partitions (of `duri.samples`) write to it, where the caller knows. Then the first
    interval waits for them all; otherwise a source is waited for from its first record on.
    """

    name = "advise"

    def __init__(
        self,
        settings: AdviseSettings,
        catalogue: Catalogue,
        topology: Topology,
        *,
        frame_s: float,
        input_topic: str,
        partition: int,
        sources: int | None = None,
    ) -> None:
        frame_ms = round(frame_s * 1000)
        self._settings = settings
        self._topology = topology.copy()
        self._calls_learned = 0
        self._frame_ms = frame_ms
        self._change_window_ms = round(settings.change_window_s * 1000)
        self._queue = IntervalQueue(
            frame_ms, round(settings.source_timeout_s * 1000), settings.max_pending_frames, sources
        )
        slots = history_slots(settings, frame_s)
        self._history = History(
            catalogue.history_signals(), frame_ms, slots, settings.max_services, catalogue.verified_signals()
        )
        self._control = ControlLog()
        self._silence = Silence(self._control, self._topology, frame_ms)
        self._incidents = Incidents(settings, self._topology, self._history, catalogue.baseline, catalogue.signals)
        self._credibility = Credibility(self._history, catalogue.baseline)
        self._lessons = Lessons()
        self._board = Board(self._lessons, round(settings.cooldown_s * 1000), round(settings.expiry_s * 1000))
        self._advisor = Advisor(settings, catalogue, self._board, frame_ms)
        self._judge = Judge(catalogue, self._lessons)
        windows = Windows(self._history, catalogue.shapes)
        pace = Pace(settings.decide_after_frames, frame_ms)
        self._verifier = Verifier(catalogue, self._judge.evaluator, self._board, windows, pace, self._disturbs)
        self._deploys = Deploys(settings, windows, catalogue.signals, frame_ms, self._disturbs)
        self._forecasts = Forecasts(self._history, catalogue)
        self._inquiry = Inquiry(
            self._judge,
            self._incidents,
            self._topology,
            self._forecasts,
            self._silence,
            self._deploys,
            self._change_window_ms,
        )
        self._answers = Answers(settings, self._judge, self._board, self._control, frame_ms)
        self._reporter = Reporter(f"/duri/advise/{input_topic}/{partition}")
        self._counts = {"frames": 0, "intervals": 0, "malformed": 0, "ignored": 0}

    def step(self, records: Sequence[InputRecord]) -> list[Output]:
        """Take the next records, in log order. Those that cannot be read are counted and left out."""
        outputs: list[Output] = []
        for record in records:
            try:
                message = read(record)
            except (msgspec.MsgspecError, ValueError, OverflowError):
                self._counts["malformed"] += 1
                continue
            self._take(message)
            if isinstance(message, Frame) and not self._queue.full:
                continue  # a frame alone completes no interval
            for end_ms, frames in self._queue.take(self._idle):
                self._interval(end_ms, frames)
            outputs += self._reporter.flush()
        return outputs

    def snapshot(self) -> SnapshotState:
        """Copy of the whole state."""
        parts = snapshots.Parts(
            queue=self._queue.state,
            incidents=self._incidents.log,
            board=self._board.state,
            control=self._control,
            calls=self._topology.learned,
            calls_learned=self._calls_learned,
            deploys=self._deploys.trials,
            efficacy=self._lessons.efficacy,
            budgets=self._forecasts.budgets,
        )
        return {"state": snapshots.pack(parts), **self._history.snapshot()}

    def restore(self, state: SnapshotState) -> None:
        """Become the stage that gave this snapshot. Raises StateError where it does not fit."""
        parts = snapshots.unpack(state, self._history)
        self._queue.restore(parts.queue)
        self._incidents.log = parts.incidents
        self._board.restore(parts.board)
        self._control = self._answers.control = self._silence.control = parts.control
        self._topology.restore(parts.calls)
        self._calls_learned = parts.calls_learned
        self._deploys.trials = parts.deploys
        self._lessons.efficacy = parts.efficacy
        self._forecasts.budgets = parts.budgets

    def tick(self, elapsed_ms: int) -> Sequence[Output]:  # noqa: ARG002  the contract's signature
        """Nothing: detect's partitions tick while they are idle and send their watermarks here, which moves time."""
        return ()

    def statistics(self) -> Mapping[str, float]:
        """Counts since the start, and levels."""
        counts = self._counts
        return {
            "advise_frames_total": counts["frames"],
            "intervals_total": counts["intervals"],
            "late_frames_total": self._queue.late,
            "forced_intervals_total": self._queue.forced,
            "advise_malformed_records_total": counts["malformed"],
            "ignored_records_total": counts["ignored"],
            "silenced_frames_total": self._silence.silenced,
            "doubted_anomalies_total": self._credibility.doubted,
            "incidents_dropped_total": self._incidents.dropped,
            "recommendations_dropped_total": self._advisor.dropped,
            "feedback_unknown_total": self._answers.unknown,
            "feedback_illegal_total": self._answers.illegal,
            "muted_anomalies_total": self._silence.muted,
            "pending_frames": self._queue.held,
            "silent_sources": self._queue.silent,
            "advise_services": len(self._history),
            "incidents_open": len(self._incidents.log.open),
            "recommendations_open": len(self._board),
            **{f'incidents_total{{severity="{name}"}}': count for name, count in self._incidents.opened.items()},
            **{
                f'recommendations_total{{rule="{name}"}}': count for name, count in sorted(self._advisor.opened.items())
            },
            **self._lessons.statistics(),
            **{f'outcomes_total{{result="{name}"}}': count for name, count in sorted(self._reporter.outcomes.items())},
        }

    def _take(self, message: Message | None) -> None:
        limit = self._settings.max_control_records
        match message:
            case Frame():
                self._counts["frames"] += 1
                self._queue.add(message)
            case Watermark():
                arrival = message.until if message.arrival is None else message.arrival
                self._queue.advance(message.source_partition, milliseconds(message.until), milliseconds(arrival))
            case Tick():
                self._queue.advance_all(milliseconds(message.at))
            case SourceIdle():
                self._queue.rest(int(message.source.rpartition("/")[2]))
            case ChangeEvent():
                change = self._control.note_change(message, limit)
                self._deploys.note(change)
                self._answers.deployed(change, self._queue.now)
                self._reporter.drain(self._board)
            case Muting():
                self._control.note_mute(message, limit)
            case MaintenanceWindow():
                self._control.note_window(message, limit)
            case Feedback():
                self._answers.take(message, self._queue.now)
                self._reporter.drain(self._board)
            case None:
                self._counts["ignored"] += 1

    def _idle(self) -> bool:
        """Whether passing time changes nothing."""
        return not self._incidents.log.open and not len(self._board) and not self._deploys.trials

    def _interval(self, end_ms: int, ordered: list[Frame]) -> None:
        self._counts["intervals"] += 1
        frames = {frame.service: frame for frame in ordered}
        self._history.learn(end_ms, ordered)
        self._learn_calls(ordered, end_ms)
        self._credibility.sift(frames, end_ms)
        self._silence.sift(frames, end_ms)
        self._forecasts.follow(frames, end_ms)
        self._deploys.follow(frames, end_ms, self._board.write)
        down = self._silence.down(frames)
        self._incidents.observe(end_ms, frames, count_anomalies(frames), down)
        self._advisor.begin(frames)
        for younger, older in self._incidents.merged:
            self._advisor.adopt(younger, older)
            if younger.announced:
                self._reporter.merged(younger, older, end_ms)
        for incident in list(self._incidents.log.open.values()):
            self._advise(incident, frames, down, end_ms)
        self._answers.watch(frames, end_ms)
        self._verifier.follow(frames, end_ms)
        self._advisor.expire(end_ms)
        closed = self._incidents.close(end_ms)
        self._advisor.close(closed, end_ms)
        self._advisor.name(self._incidents.log.open.values())
        self._report(closed, end_ms)

    def _learn_calls(self, frames: list[Frame], end_ms: int) -> None:
        """Keep the service graph in line with the span metrics."""
        calls = [(call.client, call.server) for frame in frames for call in frame.calls]
        if calls:
            self._topology.learn(calls, end_ms, self._settings.max_services)
        if end_ms - self._calls_learned >= _FORGET_EVERY_MS:
            self._topology.forget(end_ms - round(self._settings.calls_memory_s * 1000))
            self._calls_learned = end_ms

    def _advise(
        self, incident: OpenIncident, frames: Mapping[str, Frame], down: Mapping[str, str], end_ms: int
    ) -> None:
        matches = self._inquiry.matches(incident, frames, down, end_ms)
        self._advisor.wait(incident, end_ms)
        if matches is not None:
            steady = self._advisor.steady(incident, matches)
            if incident.decided:
                self._advisor.advise(incident, steady, end_ms)

    def _disturbs(
        self, trial: Trial, frames: Mapping[str, Frame], end_ms: int, *, by_callees: bool = True, own: bool = True
    ) -> bool:
        """A callee's trouble is no excuse for a change whose service does the harm itself."""
        by_callees = by_callees and not self._incidents.own(trial.service)
        return self._silence.disturbed(trial, frames, end_ms, by_callees=by_callees, own=own)

    def _onset(self, incident: OpenIncident) -> int:
        """From when on (ms) a change may be the incident's cause."""
        return incident.opened - self._change_window_ms

    def _until(self, incident: OpenIncident) -> int:
        """Until when (ms): a marker may come a little after the roll-out it speaks of."""
        return incident.opened + self._frame_ms

    def _report(self, closed: list[OpenIncident], end_ms: int) -> None:
        """Write what changed: recommendations and outcomes, then the incidents that name them."""
        self._reporter.drain(self._board)
        open_now = list(self._incidents.log.open.values())
        for incident in [*open_now, *closed]:
            over = incident.id not in self._incidents.log.open
            if incident.changed or over:
                changes = self._control.between(incident.services, self._onset(incident), self._until(incident))
                around = Around([each.id for each in changes], self._forecasts.records(incident.cause, end_ms))
                self._reporter.incident(incident, around, end_ms, over=over)
        oldest = min((incident.opened for incident in open_now), default=end_ms)
        self._control.forget(min(oldest, end_ms) - 2 * self._change_window_ms)
