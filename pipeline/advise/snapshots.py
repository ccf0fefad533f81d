"""The stage's state as bytes and back: MessagePack of the state structs, arrays for the history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from pydantic import BaseModel

from models.efficacy import Efficacy
from pipeline.advise.control import ControlLog
from pipeline.advise.forecasts import Budget
from pipeline.advise.incidents.incident import IncidentLog
from pipeline.advise.incidents.topology import LearnedCalls
from pipeline.advise.intervals import QueueState
from pipeline.advise.outcomes.deploys import DeployTrial
from pipeline.advise.outcomes.standing import BoardState
from pipeline.errors import StateError

if TYPE_CHECKING:
    from pipeline.advise.history import History
    from pipeline.stage import SnapshotState

VERSION: Final = 2
"""Layout of the state; another one is refused."""


class Parts(msgspec.Struct):
    """Everything but the history."""

    queue: QueueState
    incidents: IncidentLog
    board: BoardState
    control: ControlLog
    calls: LearnedCalls
    deploys: dict[str, DeployTrial]
    efficacy: Efficacy
    budgets: dict[str, Budget]
    calls_learned: int = 0
    """When calls that are no longer seen were last dropped, ms."""
    version: int = VERSION


def pack(parts: Parts) -> bytes:
    """Bytes that share nothing with the live state."""
    return msgspec.msgpack.encode(parts, enc_hook=_encode)


def unpack(state: SnapshotState, history: History) -> Parts:
    """The parts again, and the history restored. Raises StateError where the snapshot does not fit."""
    raw = state.get("state")
    if not isinstance(raw, bytes | bytearray | memoryview):
        raise StateError("a snapshot of the advise stage lacks its `state`; delete it and replay the log")
    try:
        version = msgspec.msgpack.decode(raw, type=dict[str, Any]).get("version")
        if version != VERSION:
            raise StateError(f"a snapshot of version {version} of the advise stage; this program reads {VERSION}")
        parts = msgspec.msgpack.decode(raw, type=Parts, dec_hook=_decode)
        history.restore(state)
    except (msgspec.MsgspecError, ValueError, KeyError, IndexError) as error:
        raise StateError(f"a snapshot of the advise stage that cannot be read: {error}") from error
    return parts


def _encode(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    raise NotImplementedError(f"no way to store a {type(value).__name__}")


def _decode(kind: type, value: Any) -> Any:
    if issubclass(kind, BaseModel):
        return kind.model_validate_json(value)
    raise NotImplementedError(f"no way to read a {kind.__name__}")
