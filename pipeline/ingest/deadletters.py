"""Dead letters: what could not be read, byte for byte, with the reason and the place it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.stage import Output, Topic

if TYPE_CHECKING:
    from pipeline.errors import DecodeError
    from pipeline.stage import InputRecord

ERROR_PREFIX = "duri.error."
NULL = "null"
"""Header `duri.error.null`, `true` where the original's value was null; left out otherwise."""
_MESSAGE_LIMIT = 1000


def dead_letter(record: InputRecord, error: DecodeError, *, stage: str) -> Output:
    """The record as a dead letter: original key, value and headers, plus `duri.error.*` headers."""
    reasons = {
        "stage": stage,
        "class": type(error).__name__,
        "reason": error.reason,
        "message": str(error)[:_MESSAGE_LIMIT],
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
    }
    if record.value is None:
        # A letter's value is bytes; without this mark a replay would send an empty message for a null one.
        reasons[NULL] = "true"
    # A replayed dead letter that fails again tells of its last failure only.
    original = [(key, value) for key, value in record.headers if not key.startswith(ERROR_PREFIX)]
    return Output(
        topic=Topic.DEADLETTER,
        value=record.value if record.value is not None else b"",
        key=record.key,
        headers=[*original, *((ERROR_PREFIX + name, str(text).encode()) for name, text in reasons.items())],
        timestamp=record.timestamp,
    )
