"""One dead letter: a record of the dead-letter topic read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.ingest.deadletters import ERROR_PREFIX, NULL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.stage import Headers, InputRecord


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: what was sent, and why it could not be read."""

    partition: int
    offset: int
    timestamp: int
    """When it became a dead letter, ms."""
    key: bytes | None
    value: bytes | None
    headers: Headers
    """The original's."""
    error: Mapping[str, str]
    """`duri.error.*` without the prefix: stage, class, reason, message, topic, partition, offset, position."""

    @property
    def reason(self) -> str:
        """The short, countable reason; empty where the record tells none."""
        return self.error.get("reason", "")

    @property
    def origin(self) -> tuple[str, int] | None:
        """Topic and partition that it came from; None where the record does not say."""
        topic, partition = self.error.get("topic"), self.error.get("partition", "")
        return (topic, int(partition)) if topic and partition.isdecimal() else None


def read_letter(record: InputRecord) -> Letter:
    """A record of the dead-letter topic as a letter: the inverse of `pipeline.ingest.deadletters.dead_letter`."""
    error = {
        name.removeprefix(ERROR_PREFIX): value.decode("utf-8", "replace")
        for name, value in record.headers
        if name.startswith(ERROR_PREFIX)
    }
    original = [(name, value) for name, value in record.headers if not name.startswith(ERROR_PREFIX)]
    # The dead letter of a record without a value is empty, and says so.
    value = None if error.get(NULL) == "true" else record.value or b""
    return Letter(record.partition, record.offset, record.timestamp, record.key, value, original, error)
