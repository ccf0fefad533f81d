"""Dead letters: what could not be read, byte for byte, with the reason and the place it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.ingest.formats.cloudevents import TIME_HEADER
from pipeline.ingest.transport import ENCODING_HEADER
from pipeline.stage import Output, Topic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.errors import DecodeError
    from pipeline.ingest.refused import Refused
    from pipeline.stage import Headers, InputRecord

ERROR_PREFIX = "duri.error."
NULL = "null"
"""Header `duri.error.null`, `true` where the original's value was null; left out otherwise."""
POSITION = "position"
"""Header `duri.error.position`: where in the original message this piece of it was; left out for whole messages."""
_MESSAGE_LIMIT = 1000


def dead_letter(record: InputRecord, error: DecodeError, *, stage: str) -> Output:
    """The record as a dead letter: original key, value and headers, plus `duri.error.*` headers."""
    reasons = _reasons(record, error, stage)
    if record.value is None:
        # A letter's value is bytes; without this mark a replay would send an empty message for a null one.
        reasons[NULL] = "true"
    return _letter(record, record.value or b"", record.headers, reasons)


def dead_piece(record: InputRecord, piece: Refused, *, stage: str) -> Output:
    """A piece of the record as a dead letter, a message by itself: it says its own format, and is not compressed."""
    own = ("content-type", ENCODING_HEADER) if piece.time is None else ("content-type", ENCODING_HEADER, TIME_HEADER)
    headers = [(name, value) for name, value in record.headers if name.lower() not in own]
    reasons = {**_reasons(record, piece.error, stage), POSITION: piece.position}
    if piece.time is not None:
        headers.append((TIME_HEADER, piece.time.encode()))
    return _letter(record, piece.payload, [*headers, ("content-type", piece.content_type.encode())], reasons)


def _reasons(record: InputRecord, error: DecodeError, stage: str) -> dict[str, str | int]:
    return {
        "stage": stage,
        "class": type(error).__name__,
        "reason": error.reason,
        "message": str(error)[:_MESSAGE_LIMIT],
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
    }


def _letter(record: InputRecord, value: bytes, headers: Headers, reasons: Mapping[str, str | int]) -> Output:
    # A replayed dead letter that fails again tells of its last failure only.
    original = [(key, value) for key, value in headers if not key.startswith(ERROR_PREFIX)]
    return Output(
        topic=Topic.DEADLETTER,
        value=value,
        key=record.key,
        headers=[*original, *((ERROR_PREFIX + name, str(text).encode()) for name, text in reasons.items())],
        timestamp=record.timestamp,
    )
