"""The backfill: publishes what a server holds of a time that is past, as fast as Kafka takes it.

It goes on from the source's position and leaves one behind, so it may be interrupted and started again, and a bridge of
the same name goes on where it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipeline.errors import SettingsError
from pipeline.sources.bridge import Published, publish_windows

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.sources.positions import PositionedPublisher
    from pipeline.sources.windows import Reader


class Span(NamedTuple):
    """A time: after its beginning, up to its end; ms."""

    after_ms: int
    until_ms: int


def remaining(publisher: PositionedPublisher, wanted: Span) -> Span:
    """What of the wanted time is not published yet.

    Raises SettingsError where all of it lies before what was published: time moves forward in every series, so
    detect would drop it as late.
    """
    reached = publisher.position
    if reached is None or reached.until_ms <= wanted.after_ms:
        return wanted
    if reached.until_ms > wanted.until_ms:
        raise SettingsError(
            f"this source is published up to {reached.until_ms} ms already, later than --to: older samples would be "
            "dropped as late; backfill fresh topics (topics.prefix), or give another --name for other series"
        )
    return Span(reached.until_ms, wanted.until_ms)


async def backfill(
    reader: Reader, publisher: PositionedPublisher, span: Span, lanes: int, report: Callable[[int, int], None]
) -> Published:
    """Publish the span; `report` is told the time reached (ms) and the samples so far after each piece."""
    done = Published(until_ms=span.after_ms)
    async for part in publish_windows(reader, publisher, span, lanes):
        done.add(part)
        report(part.until_ms, done.samples)
    return done
