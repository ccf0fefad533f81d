"""The bridge: publishes what a server holds, goes on where it stopped, and waits out what fails.

What it has published is known from Kafka alone (`positions.py`). A round publishes what came since the last one, up to
`delay_s` before the server's present: by then every scrape that had begun is stored. Later samples of that time
(of a scrape that takes longer, of a rule with an offset) are not seen.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from structlog import get_logger

from pipeline.errors import DuriError, FencedError
from pipeline.records import from_ms
from pipeline.sources.lanes import lane_of
from pipeline.sources.positions import Position
from pipeline.sources.replay import MAX_ROWS, messages
from pipeline.sources.windows import Reader, read_windows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pipeline.sources.backoff import Backoff
    from pipeline.sources.positions import PositionedPublisher
    from pipeline.sources.recording import Recording

_REPORT_S = 60.0

log = get_logger(__name__)


class LiveReader(Reader, Protocol):
    """A server that goes on receiving samples."""

    def now_ms(self) -> int:
        """The server's time, ms."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How a bridge keeps up: seconds between rounds, and behind the server's present."""

    step_s: float = 15.0
    delay_s: float = 10.0
    since_ms: int | None = None
    """Where a source begins that was never published; None: at the present."""


@dataclass(slots=True)
class Published:
    """What was published."""

    samples: int = 0
    missing: int = 0
    """No finite numbers; left out."""
    until_ms: int = 0

    def add(self, part: Published) -> None:
        """What was published after it."""
        self.samples += part.samples
        self.missing += part.missing
        self.until_ms = part.until_ms


async def publish_windows(
    reader: Reader, publisher: PositionedPublisher, span: tuple[int, int], lanes: int
) -> AsyncIterator[Published]:
    """Publish all samples after the first time of `span` up to the second; tells what each piece was.

    Raises what reading and publishing raise; everything told was published, once.
    """
    windows = read_windows(reader, *span)
    while (window := await asyncio.to_thread(next, windows, None)) is not None:
        recording, until_ms = window
        parts = await asyncio.to_thread(_messages, recording, lanes)
        if parts or until_ms == span[1]:  # a time of which nothing is stored is not worth a transaction of its own
            await publisher.publish(parts, Position(until_ms))
        yield Published(len(recording), recording.missing, until_ms)


def _messages(recording: Recording, lanes: int) -> list[tuple[int, bytes]]:
    lane_of_series = np.array([lane_of(one.service, lanes) for one in recording.series], dtype=np.int64)
    return [
        part
        for begin in range(0, len(recording), MAX_ROWS)
        for part in messages(recording, lane_of_series, begin, min(begin + MAX_ROWS, len(recording)))
    ]


class Bridge:
    """Publishes rounds until it is stopped; failures are waited out, longer and longer."""

    def __init__(
        self, reader: LiveReader, connect: Callable[[], PositionedPublisher], pace: Pace, backoff: Backoff, lanes: int
    ) -> None:
        self._reader = reader
        self._connect = connect
        self._pace = pace
        self._backoff = backoff
        self._lanes = lanes
        self._worked = False
        self._minute, self._whole = Published(), Published()
        self._reported_s = time.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Publish until `stop` is set.

        Raises FencedError where another bridge of the same name took over, and whatever fails before the first round
        has succeeded and will not mend by itself.
        """
        try:
            await self._reconnecting(stop)
        finally:
            log.info("the bridge ends", samples=self._whole.samples, left_out=self._whole.missing, **self._reached())

    async def _reconnecting(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                async with self._connect() as publisher:
                    await self._rounds(publisher, stop)
            except FencedError:
                raise
            except DuriError as error:
                if not (self._worked or error.retryable):
                    raise
                wait_s = self._backoff.fail()
                log.warning("the bridge waits", error=str(error), wait_s=round(wait_s, 1))
                await _sleep(stop, wait_s)

    async def _rounds(self, publisher: PositionedPublisher, stop: asyncio.Event) -> None:
        while not stop.is_set():
            began = time.monotonic()
            self._worked |= await self._round(publisher, stop)
            self._backoff.succeed()
            self._report()
            await _sleep(stop, self._pace.step_s - (time.monotonic() - began))

    async def _round(self, publisher: PositionedPublisher, stop: asyncio.Event) -> bool:
        """Publish what has come since the last round; whether anything was asked for."""
        now_ms = await asyncio.to_thread(self._reader.now_ms)
        until_ms = now_ms - round(self._pace.delay_s * 1000)
        if publisher.position is None:
            # Written at once: where the bridge began must be known, also when nothing comes for a while.
            since_ms = until_ms if self._pace.since_ms is None else self._pace.since_ms
            await publisher.publish((), Position(since_ms))
            log.info("a new source", since=from_ms(since_ms).isoformat())
        after_ms = publisher.position.until_ms if publisher.position else until_ms
        async for part in publish_windows(self._reader, publisher, (after_ms, until_ms), self._lanes):
            self._minute.add(part)
            self._whole.add(part)
            if stop.is_set():
                break
        return until_ms > after_ms

    def _report(self) -> None:
        if time.monotonic() - self._reported_s < _REPORT_S:
            return
        self._reported_s = time.monotonic()
        done, self._minute = self._minute, Published()
        log.info("last minute", samples=done.samples, left_out=done.missing, **self._reached())

    def _reached(self) -> dict[str, str]:
        """The server's time up to which all is published; nothing where that is unknown."""
        until_ms = self._whole.until_ms
        return {"until": from_ms(until_ms).isoformat()} if until_ms else {}


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but not longer than until `stop` is set."""
    if seconds <= 0:
        return
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
