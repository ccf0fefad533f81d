"""Reading `duri.frames` fast: the same records as `pipeline.records`, as msgspec structs with the fields needed here.

A worker reads 10,000 frames a minute, nearly all of them healthy; a pydantic model of 40 signals would cost ten times
as much. What is read seldom (changes, feedback, maintenance windows) uses the pydantic records.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from pipeline import records
from pipeline.records import Direction, Severity

if TYPE_CHECKING:
    from pipeline.stage import InputRecord


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
    opened_at: datetime
    observed: float | None
    expected: float | None


class Source(msgspec.Struct, gc=False):
    """Input partition of the frame, and the offset that completed it."""

    topic: str
    partition: int
    offset: int


class Frame(msgspec.Struct):
    """One service in one frame interval. `ends` is `end` in ms since the epoch, filled in after decoding."""

    service: str
    start: datetime
    end: datetime
    signals: dict[str, SignalValue]
    settings: dict[str, float]
    source: Source
    system: str = "default"
    anomalies: list[OpenAnomaly] = []
    ends: int = 0


class Watermark(msgspec.Struct):
    """All frames of this source partition up to `until` are out."""

    source_partition: int
    until: datetime


class Tick(msgspec.Struct):
    """Event time moves on although no data came."""

    at: datetime


Message = Frame | Watermark | Tick | records.ChangeEvent | records.Feedback | records.MaintenanceWindow
"""What may stand on `duri.frames`."""

_FAST: Final = {
    records.Frame.event_type().encode(): msgspec.json.Decoder(Frame).decode,
    records.Watermark.event_type().encode(): msgspec.json.Decoder(Watermark).decode,
    records.Tick.event_type().encode(): msgspec.json.Decoder(Tick).decode,
}
_CAREFUL: Final = {
    model.event_type().encode(): model.model_validate_json
    for model in (records.ChangeEvent, records.Feedback, records.MaintenanceWindow)
}


def read(record: InputRecord) -> Message | None:
    """The record as its type; None where its `ce_type` is not one of ours.

    Raises ValueError (msgspec's and pydantic's errors are both) where it cannot be read as what it claims to be.
    """
    kind = next((value for name, value in record.headers if name == "ce_type"), None)
    if kind is None or record.value is None:
        raise ValueError("no ce_type header or no value")
    decode = _FAST.get(kind) or _CAREFUL.get(kind)
    if decode is None:
        return None
    message: Message = decode(record.value)
    if isinstance(message, Frame):
        _check(message)
    return message


def _check(frame: Frame) -> None:
    frame.ends = milliseconds(frame.end)
    if frame.ends <= milliseconds(frame.start):
        raise ValueError("the frame ends before it starts")


def milliseconds(moment: datetime) -> int:
    """An aware datetime as ms since the epoch. Raises ValueError for a naive one: it names no moment."""
    if moment.tzinfo is None:
        raise ValueError("a time without an offset from UTC")
    return round(moment.timestamp() * 1000)
