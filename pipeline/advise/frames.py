"""Reading `duri.frames` fast: the same records as `pipeline.records`, as msgspec structs with the fields needed here.

A worker reads 10,000 frames a minute, nearly all of them healthy; a pydantic model of 40 signals would cost ten times
as much. What is read seldom (changes, feedback, maintenance windows) uses the pydantic records.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, Protocol

import msgspec

from pipeline import records
from pipeline.records import Direction, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.stage import Headers


Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""An aware datetime; a naive one names no moment, and is refused."""


class SignalValue(msgspec.Struct, gc=False):
    """A signal in one frame: its value and what was expected; None where there was none."""

    value: float | None
    expected: float | None = None


class OpenAnomaly(msgspec.Struct):
    """An anomaly that is open in this frame."""

    id: str
    signal: str
    severity: Severity
    direction: Direction
    score: float
    detectors: list[str]
    opened_at: Moment
    observed: float | None
    expected: float | None
    contributions: dict[str, float] = {}
    quiet: bool = False
    """A ranker says that it hardly matters to people."""
    serious_since: Moment | None = None
    """Since when it is a warning or worse, where that is told."""

    @property
    def began(self) -> int:
        """When it began to count (ms): while it was only worth knowing it was nobody's trouble."""
        return milliseconds(self.serious_since or self.opened_at)


class Source(msgspec.Struct, gc=False):
    """Input partition of the frame, and the offset that completed it."""

    topic: str
    partition: int
    offset: int


class Calls(msgspec.Struct, gc=False):
    """How often one service calls another, per second."""

    client: str
    server: str
    rps: float


class Frame(msgspec.Struct):
    """One service in one frame interval. `ends` is `end` in ms since the epoch, filled in after decoding."""

    service: str
    start: Moment
    end: Moment
    signals: dict[str, SignalValue]
    settings: dict[str, float]
    source: Source
    system: str = "default"
    anomalies: list[OpenAnomaly] = []
    calls: list[Calls] = []
    ends: int = 0


class Watermark(msgspec.Struct):
    """All frames of this source partition up to `until` are out."""

    source_partition: int
    until: Moment
    arrival: Moment | None = None
    """When the newest of the source's samples was published."""


class Tick(msgspec.Struct):
    """Event time moves on although no data came."""

    at: Moment


Message = (
    Frame
    | Watermark
    | Tick
    | records.SourceIdle
    | records.ChangeEvent
    | records.Feedback
    | records.MaintenanceWindow
    | records.Muting
)
"""What may stand on `duri.frames`."""

_FAST: Final[Mapping[bytes, Callable[[bytes], Message]]] = {
    records.Frame.event_type().encode(): msgspec.json.Decoder(Frame).decode,
    records.Watermark.event_type().encode(): msgspec.json.Decoder(Watermark).decode,
    records.Tick.event_type().encode(): msgspec.json.Decoder(Tick).decode,
}
_CAREFUL: Final[Mapping[bytes, Callable[[bytes], Message]]] = {
    records.SourceIdle.event_type().encode(): records.SourceIdle.model_validate_json,
    records.ChangeEvent.event_type().encode(): records.ChangeEvent.model_validate_json,
    records.Feedback.event_type().encode(): records.Feedback.model_validate_json,
    records.MaintenanceWindow.event_type().encode(): records.MaintenanceWindow.model_validate_json,
    records.Muting.event_type().encode(): records.Muting.model_validate_json,
}


class Written(Protocol):
    """A record as it is read, or as a stage has written it."""

    @property
    def headers(self) -> Headers: ...
    @property
    def value(self) -> bytes | None: ...


def read(record: Written) -> Message | None:
    """The record as its type; None where its `ce_type` is not one of ours.

    Raises ValueError (msgspec's and pydantic's errors are both) where it cannot be read as what it claims to be.
    """
    kind = next((value for name, value in record.headers if name == "ce_type"), None)
    if kind is None or record.value is None:
        raise ValueError("no ce_type header or no value")
    decode = _FAST.get(kind) or _CAREFUL.get(kind)
    if decode is None:
        return None
    message = decode(record.value)
    if isinstance(message, Frame):
        _check(message)
    return message


def _check(frame: Frame) -> None:
    frame.ends = milliseconds(frame.end)
    if frame.ends <= milliseconds(frame.start):
        raise ValueError("the frame ends before it starts")


def milliseconds(moment: datetime) -> int:
    """An aware datetime as ms since the epoch."""
    return round(moment.timestamp() * 1000)
