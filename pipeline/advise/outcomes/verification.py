"""Did it work? After somebody says `applied`, windows before and after are compared (LAB-NOTES: what held).

For each interval that began after the change, and that nothing else disturbed:

1. Something that must not get worse is worse `decide_after_frames` intervals in a row (the rule's `abort_if`, where
   it did not hold before; a percentage point more errors than chance brings; slower by rank test and effect size
   without more requests, where growth that was there before is taken out; no data): regressed, at once, and the undo
   is proposed. All but the first is asked of every service that shares what was changed.
2. The rule's own condition is asked; it speaks of the mechanism's own signal. Before `settle_s` nothing
   counts.
3. `after_s` later, with five intervals or more: the condition holds in most of them and the target moved (it left
   its window before, or is back at what was healthy), or the target is better and cannot be told from what was
   healthy: verified. The target got worse: regressed. Else: no_effect.
4. No data that could tell, until twice `after_s` and five intervals more: no_effect, and the note says why.

Disturbed: maintenance, another change to the service; for what users feel also a callee whose own trouble began after
the change where the condition does not hold: where it does, it held in spite of that; nor where nearly all harm is the
service's own, whose bursts its callees then suffer from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec
import numpy as np

from models.comparison import Verdict
from pipeline import quantities as fmt
from pipeline.advise.frames import SignalValue
from pipeline.advise.outcomes.harm import Harmed, Look, harmed_by, silence, whole_window
from pipeline.advise.outcomes.standing import Found
from pipeline.advise.outcomes.undo import propose_undo
from pipeline.advise.outcomes.windows import MIN_INTERVALS, Trial
from pipeline.advise.rules.catalogue import GUARDS
from pipeline.advise.rules.drafting import undo_text
from pipeline.advise.rules.expressions import compile_expression, references
from pipeline.advise.rules.facts import Facts, values_of, with_defaults
from pipeline.advise.rules.words import in_words, with_value
from pipeline.advise.symptoms import FELT
from pipeline.records import RecommendationState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.advise.frames import Frame
    from pipeline.advise.outcomes.standing import Board, Standing
    from pipeline.advise.outcomes.windows import Windows
    from pipeline.advise.rules.catalogue import Catalogue
    from pipeline.advise.rules.expressions import Evaluator, Program


class Disturbed(Protocol):
    """Whether something else was going on in the interval that ends then; callees' trouble only where it is asked."""

    def __call__(
        self, trial: Trial, frames: Mapping[str, Frame], end_ms: int, *, by_callees: bool = True, own: bool = True
    ) -> bool:
        """See the class. `own`: whether the change was made to this service, or to what it shares with another."""


_MAX_ANSWERS: Final = 30
_FEW: Final = 2


class Pace(NamedTuple):
    """How time is counted."""

    patience: int
    """Intervals in a row that harm must show."""
    frame_ms: int


class Verifier:
    """Follows the applied recommendations."""

    def __init__(
        self,
        catalogue: Catalogue,
        evaluator: Evaluator,
        board: Board,
        windows: Windows,
        pace: Pace,
        disturbed: Disturbed,
    ) -> None:
        self._catalogue = catalogue
        self._evaluator = evaluator
        self._board = board
        self._windows = windows
        self._patience = pace.patience
        self._frame_ms = pace.frame_ms
        self._disturbed = disturbed
        self._programs: dict[str, Program] = {}
        self._units = catalogue.units()

    def follow(self, frames: Mapping[str, Frame], now: int) -> None:
        """Look at each applied recommendation with the frames of the interval that ends now."""
        for standing in self._board:
            if standing.applied is not None and standing.applied <= now:
                self._look(standing, standing.applied, frames, now)

    def _look(self, standing: Standing, applied: int, frames: Mapping[str, Frame], now: int) -> None:
        trial = standing.trial or self._opened(standing, applied)
        if now - self._frame_ms >= applied and (
            self._harmed_elsewhere(standing, trial, frames, now) or self._followed(standing, trial, frames, now)
        ):
            return
        check = standing.record.verification
        patience = 1000.0 * (check.settle_s + 2 * check.after_s) + MIN_INTERVALS * self._frame_ms
        if now - applied >= patience:
            self._end_untold(standing, trial, now)

    def _opened(self, standing: Standing, applied: int) -> Trial:
        """What was before the change, of its service and of those that share what was changed."""
        target = standing.record.target
        signals = dict.fromkeys([standing.record.verification.signal, *GUARDS])
        known = [name for name in signals if name in self._catalogue.signals]
        began = standing.began or standing.onset
        trial, *others = [
            self._windows.open(service, applied, known, began, standing.onset)
            for service in dict.fromkeys([target.service, *target.shared_by])
        ]
        standing.trial, standing.others = trial, others
        return trial

    def _holds(self, standing: Standing, frame: Frame) -> bool:
        """Whether what the change was to bring about is there: then no callee's trouble has undone it."""
        self._load(standing, frame)
        return self._evaluator.holds(self._program(standing.record.verification.condition))

    def _harmed_elsewhere(self, standing: Standing, trial: Trial, frames: Mapping[str, Frame], now: int) -> bool:
        """Look at the others that share what was changed; whether harm to one of them ended the verification.

        What was changed elsewhere at the time is the doing of that change, also of one shortly before.
        """
        found = []
        look = self._look_at(standing, now)
        for other in standing.others:
            frame = frames.get(other.service)
            if frame is None or self._disturbed(other, frames, now, own=False):
                other.disturb(now)
                continue
            harmed = silence(frame, trial.at) or harmed_by(self._windows, other, look)
            other.count(frame, harmed=harmed is not None)
            if harmed and other.harmed >= self._patience:
                found.append(harmed)
        if found:
            self._regress(standing, trial, found[0]._replace(text=f"in {found[0].service}, {found[0].text}"), now)
        return bool(found)

    def _look_at(self, standing: Standing, now: int) -> Look:
        return Look(now, self._frame_ms, 1 + len(standing.others))

    def _followed(self, standing: Standing, trial: Trial, frames: Mapping[str, Frame], now: int) -> bool:
        """Take one interval of the service that was changed; whether it ended the verification."""
        frame = frames.get(trial.service)
        if frame is None:
            return False
        if self._disturbed(trial, frames, now, by_callees=False):
            trial.disturb(now)
            return False
        harmed = silence(frame, trial.at)
        if harmed is None:
            return self._judged(standing, trial, frames, now)
        trial.count(frame, harmed=True)
        if trial.harmed >= self._patience:
            self._regress(standing, trial, harmed, now)
        return trial.harmed >= self._patience

    def _judged(self, standing: Standing, trial: Trial, frames: Mapping[str, Frame], now: int) -> bool:
        """Take one undisturbed interval in which the service was heard of; whether it ended the verification."""
        check, frame = standing.record.verification, frames[trial.service]
        harmed = None
        if not self._holds(standing, frame) and self._disturbed(trial, frames, now):
            trial.hold_up(now)
            if check.signal in FELT:
                return False
        else:
            harmed = self._harmed(standing, trial, frame, now)
            trial.count(frame, harmed=harmed is not None)
        if harmed and trial.harmed >= self._patience:
            self._regress(standing, trial, harmed, now)
            return True
        settled = trial.at + round(check.settle_s * 1000)
        if now - self._frame_ms < settled:
            return False
        answer = self._evaluator.value(self._program(check.condition))
        if isinstance(answer, bool):
            standing.held_back = [*standing.held_back, answer][-_MAX_ANSWERS:]
        looked = now - trial.at >= whole_window(self._look_at(standing, now)) * self._frame_ms
        well = not harmed and not any(other.harmed for other in standing.others)
        enough = looked and well and len(standing.held_back) >= MIN_INTERVALS
        if enough and now - settled >= check.after_s * 1000:
            self._conclude(standing, trial, settled, now)
            return True
        return False

    def _load(self, standing: Standing, frame: Frame) -> None:
        settings, assumed = with_defaults(frame.settings, self._catalogue.settings)
        facts = Facts(
            service=frame.service,
            frame=frame,
            settings=settings,
            assumed=assumed,
            usual=standing.usual,
            trends={},
            peaks={},
            before=standing.before,
        )
        self._evaluator.load(facts.variables())

    def _harmed(self, standing: Standing, trial: Trial, frame: Frame, now: int) -> Harmed | None:
        """What is worse than before the change although it must not be."""
        harmed = harmed_by(self._windows, trial, self._look_at(standing, now))
        abort_if = standing.record.verification.abort_if
        if harmed is None and abort_if and self._aborted(standing, frame, self._program(abort_if)):
            named = sorted(key for mapping, key in references(abort_if) if mapping == "signals")
            signal = named[0] if named else standing.record.verification.signal
            text = with_value(abort_if, self._units, values_of(frame))
            return Harmed(trial.service, signal, text, f"!({abort_if})")
        return harmed

    def _aborted(self, standing: Standing, frame: Frame, abort_if: Program) -> bool:
        """Whether it holds now and did not where the change was advised: what held before is no harm of the change."""
        if not self._evaluator.holds(abort_if):
            return False
        advised = {name: SignalValue(value) for name, value in standing.before.items()}
        self._load(standing, msgspec.structs.replace(frame, signals=advised))
        held_before = self._evaluator.holds(abort_if)
        self._load(standing, frame)
        return not held_before

    def _conclude(self, standing: Standing, trial: Trial, settled: int, now: int) -> None:
        check = standing.record.verification
        before, healthy = trial.before.get(check.signal, []), trial.healthy.get(check.signal, [])
        after = self._windows.after(trial, check.signal, settled)
        usual = standing.usual.get(check.signal)
        verdict = self._windows.verdict(check.signal, before, after, usual)
        answers = standing.held_back[-max(MIN_INTERVALS, len(after) // 2) :]
        cleared = 2 * sum(answers) > len(answers)
        waited = f"{fmt.duration((now - trial.at) / 1000.0)} after the change"
        reached, missed = self._said(standing, check.condition), self._said(standing, check.condition, negated=True)
        if cleared and self._moved(standing, trial, after):
            self._mended(standing, trial, now, f"{reached} {waited}")
        elif cleared:
            note = f"{reached} {waited}, but {check.signal} did not move: it was so before the change too"
            self._end(standing, trial, RecommendationState.NO_EFFECT, now, note)
        elif self._worse(trial, check.signal, settled, usual):
            gone = f'{check.condition} || signals["{check.signal}"] == usual["{check.signal}"]'
            harmed = Harmed(trial.service, check.signal, f"{check.signal} is worse than before", gone)
            self._regress(standing, trial, harmed, now)
        elif verdict is Verdict.BETTER and self._healthy(check.signal, healthy, after, usual):
            note = f"{check.signal} is back where it was before the trouble {waited}"
            self._mended(standing, trial, now, f"{note}, though now and then {missed}")
        else:
            better = ", though it is better than before" if verdict is Verdict.BETTER else ""
            note = f"{missed} {waited}{better}"
            self._end(standing, trial, RecommendationState.NO_EFFECT, now, note)

    def _mended(self, standing: Standing, trial: Trial, now: int, note: str) -> None:
        self._end(standing, trial, RecommendationState.VERIFIED, now, note)
        self._settle(standing, now)

    def _healthy(self, signal: str, healthy: list[float], after: np.ndarray, usual: float | None) -> bool:
        """Whether the target cannot be told from what was healthy, by what tells better from worse everywhere else."""
        enough = min(len(healthy), len(after)) >= MIN_INTERVALS
        return enough and self._windows.verdict(signal, healthy, after, usual) is Verdict.SAME

    def _worse(self, trial: Trial, signal: str, settled: int, usual: float | None) -> bool:
        """Whether the target is worse than before the change, and than what was healthy."""
        after, healthy = self._windows.after(trial, signal, settled), trial.healthy.get(signal, [])
        worse = self._windows.worse(trial, signal, settled, usual)
        return worse and self._windows.verdict(signal, healthy, after, usual) is Verdict.WORSE

    def _moved(self, standing: Standing, trial: Trial, after: np.ndarray) -> bool:
        """Whether the target left where it was before the change, or is back at what was healthy."""
        signal = standing.record.verification.signal
        before, healthy = trial.before.get(signal), trial.healthy.get(signal)
        usual = standing.usual.get(signal)
        if not before or not len(after):
            return True  # nothing to compare with: the mechanism's own condition alone tells
        # People say a little late that they have done it, so the newest interval before may be one after.
        told_late = before[:-1] if len(before) > _FEW else before
        if self._windows.separated(signal, told_late, after, usual):
            return True
        if not healthy:
            return False
        back = self._windows.verdict(signal, healthy, after, usual) is not Verdict.WORSE
        return back and self._windows.verdict(signal, healthy, before, usual) is Verdict.WORSE

    def _regress(self, standing: Standing, trial: Trial, harmed: Harmed, now: int) -> None:
        self._end(
            standing,
            trial,
            RecommendationState.REGRESSED,
            now,
            f"{harmed.text}; undo it: {undo_text(standing.record)}",
            harmed.signal if harmed.service == trial.service else "",
        )
        if not standing.undoes:
            there = next((other for other in standing.others if other.service == harmed.service), trial)
            after = self._windows.after(there, harmed.signal, trial.at)
            observed = float(np.median(after)) if len(after) else None
            propose_undo(self._board, standing, harmed, observed, self._units, now)

    def _end_untold(self, standing: Standing, trial: Trial, now: int) -> None:
        check = standing.record.verification
        disturbed = len(trial.left_out(check.signal))
        others = f" ({disturbed} intervals were disturbed by something else)" if disturbed else ""
        what = f"too little was measured of {check.signal} to tell" if standing.held_back else "nothing was measured"
        if not standing.held_back:
            what += f" that could tell within {fmt.duration((now - trial.at) / 1000.0)}"
        self._end(standing, trial, RecommendationState.NO_EFFECT, now, f"{what}{others}")

    def _end(
        self, standing: Standing, trial: Trial, state: RecommendationState, now: int, note: str, also: str = ""
    ) -> None:
        check = standing.record.verification
        settled = trial.at + round(check.settle_s * 1000)
        compared = [
            self._windows.compared(signal, trial.before.get(signal, []), self._windows.after(trial, signal, settled))
            for signal in dict.fromkeys(name for name in (check.signal, also, *GUARDS) if name)
            if signal in self._catalogue.signals
        ]
        told = [each for each in compared if each.intervals_after or each.signal == check.signal]
        self._board.end(standing, state, now, note, Found(told, len(trial.left_out(check.signal))))

    def _settle(self, mended: Standing, now: int) -> None:
        """Take back the alternatives: what of its services no longer has a reason. All else is trouble of its own."""
        services = {mended.record.target.service, *mended.record.target.shared_by}
        held = now - self._patience * self._frame_ms
        for other in self._board.of(mended.incident):
            theirs = {other.record.target.service, *other.record.target.shared_by}
            if other.waiting and not other.undoes and theirs <= services and other.matched <= held:
                self._board.end(other, RecommendationState.SUPERSEDED, now, cool=False)

    def _said(self, standing: Standing, expression: str, *, negated: bool = False) -> str:
        """The condition in words; of signals that it chooses from, the one that was measured."""
        return in_words(expression, self._units, standing.before, negated=negated)

    def _program(self, text: str) -> Program:
        if text not in self._programs:
            self._programs[text] = compile_expression(text)
        return self._programs[text]
