"""Did it work? After somebody says `applied`, the rule's own conditions are asked again on later frames.

1. The abort condition holds `decide_after_frames` intervals in a row: regressed, at once, with the undo in the note.
2. `after_s` have passed and the condition on the target signal holds: verified; it is known not to hold: no_effect.
3. No data that could tell, until twice `after_s`: no_effect, and the note says why.

Windows, season and a rank test (LAB-NOTES) belong to the fuller advisor; this is the seam for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.advise.drafting import undo_text
from pipeline.advise.facts import Facts, with_defaults
from pipeline.records import RecommendationState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.advise.catalogue import Catalogue, CompiledRule
    from pipeline.advise.expressions import Evaluator
    from pipeline.advise.frames import Frame
    from pipeline.advise.standing import Board, Standing


class Verifier:
    """Follows the applied recommendations."""

    def __init__(self, catalogue: Catalogue, evaluator: Evaluator, board: Board, patience: int) -> None:
        self._catalogue = catalogue
        self._evaluator = evaluator
        self._board = board
        self._patience = patience

    def follow(self, frames: Mapping[str, Frame], now: int) -> None:
        """Look at each applied recommendation with the frames of the interval that ends now."""
        for standing in self._board:
            if standing.applied is not None and standing.applied < now:
                self._look(standing, standing.applied, frames.get(standing.record.target.service), now)

    def _look(self, standing: Standing, applied: int, frame: Frame | None, now: int) -> None:
        entry = self._catalogue.by_id.get(standing.record.provenance.rule)
        waited = (now - applied) / 1000.0
        after_s = standing.record.verification.after_s
        if entry is not None and frame is not None:
            self._load(standing, frame)
            if self._aborts(standing, entry):
                self._end(standing, RecommendationState.REGRESSED, frame, now)
                return
            verdict = self._evaluator.value(entry.condition)
            if waited >= after_s and isinstance(verdict, bool):
                state = RecommendationState.VERIFIED if verdict else RecommendationState.NO_EFFECT
                self._end(standing, state, frame, now)
                return
        if waited >= 2 * after_s:
            self._end(standing, RecommendationState.NO_EFFECT, None, now)

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

    def _aborts(self, standing: Standing, entry: CompiledRule) -> bool:
        if entry.abort_if is None:
            return False
        standing.aborts = standing.aborts + 1 if self._evaluator.holds(entry.abort_if) else 0
        return standing.aborts >= self._patience

    def _end(self, standing: Standing, state: RecommendationState, frame: Frame | None, now: int) -> None:
        check = standing.record.verification
        signal = frame.signals.get(check.signal) if frame is not None else None
        if frame is None:
            note = f"nothing was measured that could tell within {2 * check.after_s:.0f} s"
        elif state is RecommendationState.REGRESSED:
            note = f"`{check.abort_if}` holds; undo it: {undo_text(standing.record)}"
        else:
            said = "holds" if state is RecommendationState.VERIFIED else "does not hold"
            note = f"`{check.condition}` {said} {(now - (standing.applied or now)) / 1000.0:.0f} s after the change"
        self._board.end(standing, state, now, note, None if signal is None else signal.value)
        if state is RecommendationState.VERIFIED:
            self._settle(standing.incident, now)

    def _settle(self, incident: str, now: int) -> None:
        """Take back the alternatives: the problem is mended."""
        for other in self._board.of(incident):
            if other.waiting:
                self._board.end(other, RecommendationState.SUPERSEDED, now)
