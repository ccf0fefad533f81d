"""What people say of recommendations, and what they did without saying.

1. `applied` starts the verification; so does a settings gauge that leaves the present value for the recommended one,
   and a deploy of the version that is recommended.
2. `rejected` and `false_alarm` end it. They count against its rule, and against the signals that it looks at whose
   anomalies stood behind it (of a server, for all who share it): a false alarm once, a rejection a half. From two on
   within `mute_s` the signals are quietened for so long, with a record that says so; critical anomalies still speak.
3. `snooze` holds it back for the cool-down.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from pipeline import quantities as fmt
from pipeline.advise.outcomes.standing import Found
from pipeline.advise.rules.expressions import compile_expression
from pipeline.advise.rules.facts import Facts, with_defaults
from pipeline.advise.rules.words import in_words
from pipeline.advise.sharing import of_component
from pipeline.errors import LifecycleError
from pipeline.records import Muting, RecommendationState, check_move, content_id, from_ms, to_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.advise.control import Change, ControlLog
    from pipeline.advise.frames import Frame
    from pipeline.advise.outcomes.standing import Board, Standing
    from pipeline.advise.rules.catalogue import CompiledRule
    from pipeline.advise.rules.expressions import Program
    from pipeline.advise.rules.judge import Judge
    from pipeline.records import Feedback
    from pipeline.settings import AdviseSettings

CLOCKS_MS: Final = 3_600_000
"""A person's `applied` may be so far from the newest interval; beyond it a clock is wrong."""
ENOUGH: Final = 2.0
"""Doubts from which on a signal is quietened."""
_DOUBT: Final = {"false_alarm": 1.0, "rejected": 0.5}
_MOST_DOUBTS: Final = 10_000
_EQUAL: Final = 0.01
_VERSION: Final = ("deployment", "version")
"""Component and resource of what a deploy changes."""


class Answers:
    """Takes feedback where it stands in the log, and watches the settings gauges."""

    def __init__(
        self, settings: AdviseSettings, judge: Judge, board: Board, control: ControlLog, frame_ms: int
    ) -> None:
        self.unknown = 0
        self.illegal = 0
        self.control = control
        self._settings = settings
        self._catalogue = judge.catalogue
        self._units = judge.catalogue.units()
        self._evaluator = judge.evaluator
        self._frame_ms = frame_ms
        self._mute_ms = round(settings.mute_s * 1000)
        self._board = board

    def take(self, feedback: Feedback, now: int) -> None:
        """Take an answer; one that fits no open recommendation, or no legal move, is counted."""
        standing = self._board.get(feedback.recommendation)
        if standing is None:
            self.unknown += 1
            return
        try:
            self._take(standing, feedback, now)
        except LifecycleError:
            self.illegal += 1

    def deployed(self, change: Change, now: int) -> None:
        """Count as applied what advises the version that was deployed."""
        for standing in self._board:
            target, advised = standing.record.target, standing.record.change.recommended
            if not standing.waiting or (target.component, target.resource) != _VERSION or change.at < standing.onset:
                continue
            if (change.kind, change.service, change.version) == ("deploy", target.service, advised):
                self._apply(standing, f"applied: version {change.version} was deployed", change.at, now)

    def watch(self, frames: Mapping[str, Frame], now: int) -> None:
        """Count as applied what the settings gauges of this interval show to be changed as recommended."""
        for standing in self._board:
            frame = frames.get(standing.record.target.service)
            if not standing.waiting:
                continue
            if standing.undoes and not self._mended(standing, frame):
                standing.matched = now
            if frame is not None and (seen := self._changed(standing, frame)):
                # Some time in the frame that shows it: that one is neither before nor after.
                self._apply(standing, seen, now - self._frame_ms + 1, now)

    def _mended(self, standing: Standing, frame: Frame | None) -> bool:
        """Whether the harm that an undo is to end is known to be gone."""
        if frame is None:
            return False
        self._load(standing, frame)
        return self._evaluator.holds(_compiled(standing.record.verification.condition))

    def _changed(self, standing: Standing, frame: Frame) -> str:
        """What the gauges say, where they say that it was done; else nothing."""
        entry = self._catalogue.by_id.get(standing.record.provenance.rule)
        if entry is None:
            return ""
        if entry.applied_if is not None:
            return self._turned(standing, entry, frame)
        return "" if entry.gauge is None else self._moved(standing, entry.gauge, frame)

    def _turned(self, standing: Standing, entry: CompiledRule, frame: Frame) -> str:
        """That what is no number is as recommended; of an undo, that it was and is no longer."""
        self._load(standing, frame)
        there = self._evaluator.value(entry.applied_if) if entry.applied_if is not None else None
        done = there is False and standing.shown if standing.undoes else there is True
        standing.shown |= there is True
        told = in_words(entry.rule.change.applied_if or "", self._units, negated=bool(standing.undoes))
        return f"applied: {told}" if done else ""

    def _moved(self, standing: Standing, gauge: str, frame: Frame) -> str:
        """That the gauge left the present value for the recommended one; else nothing."""
        change, value = standing.record.change, frame.settings.get(gauge)
        if value is None or not isinstance(change.current, float) or not isinstance(change.recommended, float):
            return ""
        if _near(value, change.current):
            standing.shown = True
        unseen = standing.undoes and not standing.shown
        if unseen or value == change.current or not _near(value, change.recommended):
            return ""
        unit = self._units.get(gauge, "")
        moved = f"from {fmt.value(change.current, unit)} to {fmt.value(value, unit)}"
        return f"applied: the gauge {gauge} went {moved}"

    def _load(self, standing: Standing, frame: Frame) -> None:
        settings, assumed = with_defaults(frame.settings, self._catalogue.settings)
        facts = Facts(frame.service, frame, settings, assumed, standing.usual, {}, {}, before=standing.before)
        self._evaluator.load(facts.variables())

    def _take(self, standing: Standing, feedback: Feedback, now: int) -> None:
        said = f"{feedback.verdict} by {feedback.by or 'somebody'}" + (f": {feedback.note}" if feedback.note else "")
        match feedback.verdict:
            case "acknowledged":
                check_move(standing.record.state, RecommendationState.ACKNOWLEDGED)
                self._say(standing, said)
                self._board.move(standing, RecommendationState.ACKNOWLEDGED, now)
            case "applied":
                self._apply(standing, said, to_ms(feedback.at), now)
            case "rejected" | "false_alarm":
                check_move(standing.record.state, RecommendationState.REJECTED)
                self._say(standing, said)
                found = Found(answer=feedback.verdict)
                self._board.end(standing, RecommendationState.REJECTED, now, said, found)
                self._doubt(standing, feedback, now)
            case "snooze":
                self._snooze(standing, said, now)

    def _apply(self, standing: Standing, said: str, at: int, now: int) -> None:
        check_move(standing.record.state, RecommendationState.APPLIED)
        self._say(standing, said)
        self._board.move(standing, RecommendationState.APPLIED, now)
        standing.applied = at if abs(at - now) <= CLOCKS_MS else now

    def _say(self, standing: Standing, said: str) -> None:
        standing.record = standing.record.model_copy(update={"answer": said})

    def _snooze(self, standing: Standing, said: str, now: int) -> None:
        if not standing.waiting:
            raise LifecycleError(f"a recommendation that is {standing.record.state} cannot be snoozed")
        standing.held = now + round(self._settings.cooldown_s * 1000)
        expires = from_ms(max(to_ms(standing.record.expires), standing.held))
        self._say(standing, said)
        standing.record = standing.record.model_copy(update={"expires": expires})
        self._board.emit(standing, now)

    def _doubt(self, standing: Standing, feedback: Feedback, now: int) -> None:
        """Count the answer against the signals behind the recommendation; quieten those that it happens to again.

        What is said of a server counts for all who share it; what users of one service felt, for that one.
        """
        target, doubts = standing.record.target, self._board.state.doubts
        common = of_component(target.component, standing.signals)
        for service in dict.fromkeys([target.service, *target.shared_by]):
            signals = standing.signals if service == target.service else common
            quiet = [signal for signal in signals if self._doubted(service, signal, _DOUBT[feedback.verdict], now)]
            if quiet:
                self._quieten(service, quiet, standing.record.answer, now)
        while len(doubts) > _MOST_DOUBTS:
            del doubts[next(iter(doubts))]

    def _doubted(self, service: str, signal: str, weight: float, now: int) -> bool:
        """Count a doubt of this signal; whether it is one too many."""
        doubts, key = self._board.state.doubts, f"{service}\x1f{signal}"
        count, last = doubts.pop(key, [0.0, 0.0])
        count = weight + (count if now - last <= self._mute_ms else 0.0)
        if count >= ENOUGH:
            return True
        doubts[key] = [count, float(now)]
        return False

    def _quieten(self, service: str, signals: list[str], answer: str, now: int) -> None:
        muting = Muting(
            id=content_id("muting", service, *signals, now),
            at=from_ms(now),
            service=service,
            signals=signals,
            until=from_ms(now + self._mute_ms),
            reason=f"recommendations about it were refused repeatedly, last: {answer}",
            by="duri",
        )
        self.control.note_mute(muting, self._settings.max_control_records)
        self._board.write(now, muting)


def _near(value: float, other: float) -> bool:
    return abs(value - other) <= _EQUAL * abs(other)


@functools.cache
def _compiled(condition: str) -> Program:
    return compile_expression(condition)
