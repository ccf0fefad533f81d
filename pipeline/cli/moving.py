"""Moving a pointer of the registry and telling the workers: one after the other, and repeatable at any point.

1 reach    the broker answers, else nothing is done
2 catch up the last move, where its author was stopped before the workers heard of it, is told now
3 check    what shows of the version without loading it, which takes seconds, is well (`pipeline.registry.admission`),
           else nothing is done; where no worker is told, all of it is checked here
4 move     the pointer, in the registry's log
5 tell     the workers; what they refuse is undone in the log, and they are told that too; where none has answered,
           the rest of 3 is done here
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import ModelError
from pipeline.registry.admission import admit, examine
from pipeline.registry.pointers import Move, PointerLog, control_record
from pipeline.registry.report import ShadowReport
from pipeline.runtime.model_control import Said, said_of, tell
from pipeline.runtime.model_terms import admission_terms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.records import RetrainingDue
    from pipeline.registry.pointers import Author
    from pipeline.registry.store import Store
    from pipeline.runtime.model_control import Heard
    from pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Told:
    """A move that was made, and what the workers said; None where they are told when they start."""

    move: Move
    heard: Heard | None
    caught_up: bool = False
    """It had been made before, and the workers had not heard of it."""


class Mover:
    """Moves pointers of one model. `wait_s` None: workers are not told (no broker is needed)."""

    def __init__(self, settings: Settings, store: Store, model: str, wait_s: float | None) -> None:
        self._settings = settings
        self.store = store
        self._wait_s = wait_s
        self.model = model
        self.log = PointerLog(store, model)
        # 1 reach
        self._said = Said() if wait_s is None else asyncio.run(said_of(settings, model))

    @property
    def margin(self) -> float:
        """F1 by which a version may be worse than the live one."""
        return self._settings.models.margin

    def shadow_report(self, version: str) -> ShadowReport | None:
        """What the version has done in the shadow beside the live one; None where nothing is known of it."""
        tallies = self._said.of(version, self.log.pointers().live)
        return ShadowReport(tallies) if tallies else None

    def shadow_metrics(self, version: str) -> Mapping[str, float]:
        """The same for the gate; empty where nothing is known."""
        report = self.shadow_report(version)
        return {} if report is None else report.metrics()

    def due(self, version: str) -> RetrainingDue | None:
        """What detect has said last of this version's training being due."""
        return self._said.due.get(version)

    def catch_up(self) -> Told | None:
        """Tell the last move where it was not told; None where there is nothing to tell."""
        # 2 catch up
        moves = self.log.moves()
        if self._wait_s is None or not moves or control_record(moves[-1]).id in self._said.ids:
            return None
        return Told(moves[-1], self._tell(moves[-1]), caught_up=True)

    def check(self, version: str) -> None:
        """Raise ModelError where the version may not run, as far as is known before workers have seen it."""
        # 3 check
        (admit if self._wait_s is None else examine)(self.store, self.model, version, admission_terms(self._settings))

    def make(self, move: Callable[[], Move], author: Author) -> Told:
        """Make the move, and tell it. Raises ModelError where workers refuse it; then it is undone."""
        # 4 move
        made = move()
        # 5 tell
        heard = self._tell(made)
        if heard is not None and heard.refused:
            self._undo(made, author, heard.refused[0].reason)
            raise ModelError(f"{self.model}: move {made.number} is undone, the workers refuse it: {_first(heard)}")
        if (
            heard is not None
            and heard.handed_out is None
            and made.version in (made.pointers.live, made.pointers.shadow)
        ):
            self._check_alone(made, author)
        return Told(made, heard)

    def _check_alone(self, made: Move, author: Author) -> None:
        """No worker has said whether the version may run. Raises ModelError where it may not; then it is undone."""
        if made.version is None:
            return
        try:
            admit(self.store, self.model, made.version, admission_terms(self._settings))
        except ModelError as error:
            self._undo(made, author, str(error))
            raise

    def _undo(self, made: Move, author: Author, reason: str) -> None:
        undone = self.log.refuse(made, author.model_copy(update={"why": reason}))
        self._tell(undone)

    def _tell(self, move: Move) -> Heard | None:
        if self._wait_s is None:
            return None
        record = control_record(move)
        heard = asyncio.run(tell(self._settings, record, self._wait_s))
        self._said.take(record)
        return heard


def _first(heard: Heard) -> str:
    refused = heard.refused[0]
    where = "" if refused.partition is None else f"partition {refused.partition}: "
    return f"{where}{refused.reason}"
