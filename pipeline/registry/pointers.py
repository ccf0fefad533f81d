"""Which version of a model is live: pointers that move by an append-only log, one file a move.

`shadow` scores beside the live one and raises nothing, `live` raises anomalies, `previous` is what `revert` returns to.
A move is the next number in the log. Two that are made at once want the same number, and only one can create it.
"""

from __future__ import annotations

import enum
import re
from datetime import datetime
from typing import TYPE_CHECKING, Final

from pydantic import AwareDatetime, Field, ValidationError

from pipeline.errors import LifecycleError, ModelError
from pipeline.records import ModelMove, content_id
from pipeline.registry.manifest import Model, Name, Version

if TYPE_CHECKING:
    from pipeline.registry.store import Store

_DIGITS: Final = 8
NAMED_VERSION: Final = re.compile(r"([a-z0-9][a-z0-9._-]{0,63})/([0-9a-f]{12})")
"""A version of a model as people name it: NAME/VERSION."""


class Action(enum.StrEnum):
    """What a move does."""

    SHADOW = "shadow"
    WITHDRAW = "withdraw"
    PROMOTE = "promote"
    REVERT = "revert"
    REFUSE = "refuse"


class Pointers(Model):
    """Versions by stage; None where there is none."""

    shadow: Version | None = None
    live: Version | None = None
    previous: Version | None = None

    def holds(self, version: str) -> list[str]:
        """Stages that point to this version."""
        return [stage for stage, held in self if held == version]


class Move(Model):
    """One entry of the log: who moved the pointers when, why, and where they point since then."""

    number: int = Field(ge=1)
    model: Name
    action: Action
    version: Version | None = Field(description="The version meant; null where a move leaves no model")
    who: str = Field(min_length=1)
    when: AwareDatetime
    why: str = ""
    forced: bool = Field(default=False, description="Against the gate's advice")
    gate: tuple[str, ...] = Field(default=(), description="What the gate had against it")
    pointers: Pointers


class Author(Model):
    """Who moves a pointer, when and why."""

    who: str = Field(min_length=1)
    when: datetime
    why: str = ""


class PointerLog:
    """The moves of one model. Raises ModelError where its files cannot be read."""

    def __init__(self, store: Store, model: str) -> None:
        self._store = store
        self._model = model

    def moves(self) -> list[Move]:
        """All moves, the oldest first."""
        moves: list[Move] = []
        files = self._store.files(f"log/{self._model}")
        for name, content in files:
            try:
                moves.append(Move.model_validate_json(content))
            except ValidationError as error:
                raise ModelError(
                    f"{self._store.location}/log/{self._model}/{name}: cannot be read ({error.errors()[0]['msg']}); "
                    "restore it from a copy: no move is made on a log with a hole"
                ) from error
        whole = [(_file(number), number) for number in range(1, len(moves) + 1)]
        if [(name, move.number) for (name, _), move in zip(files, moves, strict=True)] != whole:
            raise ModelError(
                f"{self._store.location}/log/{self._model}: moves are missing from the log; restore them from a copy"
            )
        return moves

    def pointers(self) -> Pointers:
        """Where they point now."""
        return self._next()[1]

    def shadow(self, version: str, author: Author) -> Move:
        """Let a version score beside the live one. Raises LifecycleError where it is live."""
        number, now = self._next()
        if now.live == version:
            raise LifecycleError(f"{self._model} {version} is live already; shadow another version")
        pointers = now.model_copy(update={"shadow": version})
        return self._append(number, Action.SHADOW, version, author, pointers)

    def withdraw(self, author: Author) -> Move:
        """Take the version in the shadow out of it. Raises LifecycleError where none is."""
        number, now = self._next()
        if now.shadow is None:
            raise LifecycleError(f"{self._model}: no version is in the shadow; there is nothing to withdraw")
        pointers = now.model_copy(update={"shadow": None})
        return self._append(number, Action.WITHDRAW, now.shadow, author, pointers)

    def refuse(self, move: Move, author: Author) -> Move:
        """Undo the last move, which the workers would not make: the pointers are as before it.

        Raises LifecycleError where somebody has moved them since.
        """
        moves = self.moves()
        if not moves or moves[-1] != move:
            raise LifecycleError(f"{self._model}: move {move.number} is not the last one; nothing is undone")
        before = moves[-2].pointers if len(moves) > 1 else Pointers()
        return self._append(move.number + 1, Action.REFUSE, move.version, author, before)

    def promote(self, version: str, author: Author, objections: tuple[str, ...] = (), *, force: bool = False) -> Move:
        """Make a version live; what was live is kept as the previous one.

        `objections` are the gate's. Raises LifecycleError where there are any and `force` is not given with a reason.
        """
        number, now = self._next()
        if now.live == version:
            raise LifecycleError(f"{self._model} {version} is live already")
        if objections and not force:
            raise LifecycleError(
                f"{self._model} {version} is not promoted: {'; '.join(objections)}. "
                "Train or shadow it longer, or override with --force --why REASON"
            )
        if force and not author.why:
            raise LifecycleError("--force needs a reason: give --why, it is recorded")
        shadow = None if now.shadow == version else now.shadow
        pointers = Pointers(shadow=shadow, live=version, previous=now.live)
        return self._append(number, Action.PROMOTE, version, author, pointers, objections)

    def revert(self, author: Author) -> Move:
        """Make the previous version live again, or no model where there was none.

        Raises LifecycleError where nothing was promoted.
        """
        number, now = self._next()
        if now.live is None:
            raise LifecycleError(f"{self._model}: no version is live; there is nothing to revert")
        pointers = Pointers(shadow=now.shadow, live=now.previous, previous=now.live)
        return self._append(number, Action.REVERT, now.previous, author, pointers)

    def _next(self) -> tuple[int, Pointers]:
        """Number of the next move, and the pointers that it starts from."""
        moves = self.moves()
        return len(moves) + 1, moves[-1].pointers if moves else Pointers()

    def _append(
        self,
        number: int,
        action: Action,
        version: str | None,
        author: Author,
        pointers: Pointers,
        objections: tuple[str, ...] = (),
    ) -> Move:
        if version is not None and version in (pointers.live, pointers.shadow):
            self._store.whole(self._model, version)
        move = Move(
            number=number,
            model=self._model,
            action=action,
            version=version,
            who=author.who,
            when=author.when,
            why=author.why,
            forced=bool(objections),
            gate=objections,
            pointers=pointers,
        )
        place = f"log/{self._model}/{_file(move.number)}"
        if not self._store.create(place, move.model_dump_json(indent=1).encode()):
            raise LifecycleError(
                f"{self._model}: somebody else moved a pointer at the same moment; look at it with "
                f"`duri models show {self._model}` and repeat the command"
            )
        return move


def control_record(move: Move) -> ModelMove:
    """What the workers are told of a move."""
    return ModelMove(
        id=content_id("model_move", move.model, move.number, move.when),
        at=move.when,
        model=move.model,
        number=move.number,
        action=move.action.value,
        live=move.pointers.live,
        shadow=move.pointers.shadow,
        by=move.who,
        why=move.why,
    )


def _file(number: int) -> str:
    return f"{number:0{_DIGITS}d}.json"
