"""Pieces of a message that cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pipeline.errors import DecodeError


class Refused(NamedTuple):
    """An independent piece of a message that cannot be read, while the rest can; it becomes a dead letter of its own.

    `payload` is a whole message of the format again, with this piece alone, so that it can be replayed by itself.
    `position` says where it was, as people would point at it: `line 17`, `resourceMetrics[0].…dataPoints[3]`.
    """

    payload: bytes
    position: str
    error: DecodeError
    content_type: str = ""
    """Of the payload, where it is another than the message's format says first."""
    time: str | None = None
    """What the envelope says, if the piece was in one: the time of samples that have none."""
