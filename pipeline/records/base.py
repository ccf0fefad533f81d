"""What all records share: identity, time, severity, and their headers on Kafka."""

from __future__ import annotations

import enum
import functools
import hashlib
from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = "1"
JSON_CONTENT_TYPE = "application/json"

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Severity(enum.StrEnum):
    """How urgent, in rising order."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info, 2 for critical: for comparing."""
        return _SEVERITIES.index(self)


_SEVERITIES = list(Severity)


class Direction(enum.StrEnum):
    """On which side of the expectation the observed value lies."""

    UP = "up"
    DOWN = "down"
    NONE = "none"


class Record(BaseModel):
    """What all records share."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind_name: ClassVar[str]

    @classmethod
    def event_type(cls) -> str:
        """CloudEvents type: `duri.<kind>.v<schema version>`."""
        return f"duri.{cls.kind_name}.v{SCHEMA_VERSION}"


def content_id(*parts: object) -> str:
    """Id from what identifies a record: 16 hex digits of BLAKE2b over the parts."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def from_ms(ms: int) -> datetime:
    """Milliseconds since the epoch as an aware datetime in UTC."""
    return datetime.fromtimestamp(ms / 1000, tz=UTC)


def to_ms(moment: datetime) -> int:
    """An aware datetime as milliseconds since the epoch."""
    return round(moment.timestamp() * 1000)


@functools.lru_cache(maxsize=64)  # records of one moment come together
def _time(ms: int) -> bytes:
    return from_ms(ms).isoformat().encode()


def cloudevent_headers(event_type: str, source: str, identity: str, ms: int) -> list[tuple[str, bytes]]:
    """Kafka headers of a CloudEvent in binary mode; `ms` is the event's time."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_type", event_type.encode()),
        ("ce_source", source.encode()),
        ("ce_id", identity.encode()),
        ("ce_time", _time(ms)),
        ("content-type", JSON_CONTENT_TYPE.encode()),
    ]
