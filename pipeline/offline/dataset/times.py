"""Times as a person gives them in Python, and spans of time that do not leak into each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from pipeline.errors import DecodeError, FileError, SettingsError
from pipeline.ingest.timestamps import to_millis
from pipeline.records import from_ms, to_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

Moment = int | str | datetime
"""Event time: ms since the epoch, ISO 8601, or a datetime (UTC where it names no zone)."""


class Span(NamedTuple):
    """Event time from `start` up to, not including, `end`; ms."""

    start: int
    end: int

    def __str__(self) -> str:
        return f"{from_ms(self.start):%Y-%m-%d %H:%M} to {from_ms(self.end):%Y-%m-%d %H:%M}"

    @property
    def days(self) -> float:
        """How long it is, in days."""
        return (self.end - self.start) / 86_400_000


def moment(given: Moment) -> int:
    """The time in ms. Raises SettingsError where it cannot be read."""
    if isinstance(given, int):
        return given
    if isinstance(given, datetime):
        return to_ms(given if given.tzinfo else given.replace(tzinfo=UTC))
    try:
        return to_millis(given)
    except DecodeError as error:
        raise SettingsError(f"{error}; give a time like 2026-01-31T12:00:00Z") from error


def split(span: Span, parts: Mapping[str, float], gap: timedelta) -> dict[str, Span]:
    """Consecutive spans by their share of the whole, in the order given, with a gap before each but the first.

    What lies in a gap is used by nobody: lags and rolling windows that reach less far back than the gap, and anomalies
    shorter than it, cannot carry what one part knows into the next. Raises SettingsError for shares that are not
    positive, FileError where a part would be shorter than the gap.
    """
    if not parts or any(share <= 0 for share in parts.values()):
        raise SettingsError(f"shares must be positive, not {dict(parts)}")
    total, gap_ms = sum(parts.values()), round(gap.total_seconds() * 1000)
    spans, at, reached = {}, span.start, 0.0
    for name, share in parts.items():
        reached += share
        end = span.start + round((span.end - span.start) * reached / total)
        start = at if at == span.start else at + gap_ms
        if end - start < max(gap_ms, 1):
            raise FileError(
                f"{span}: too short for the part {name!r} and a gap of {gap}; export more, or give it a larger share"
            )
        spans[name] = Span(start, end)
        at = end
    return spans
