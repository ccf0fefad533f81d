"""Reading a machine again and again, and publishing what it says."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from structlog import get_logger

from pipeline.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pipeline.client import MetricsPublisher

_REPORT_S = 60.0

log = get_logger(__name__)


class Reading(NamedTuple):
    """One value as it is now; `kind` is gauge or counter."""

    name: str
    labels: Mapping[str, str]
    value: float
    kind: str = "gauge"


class Collector:
    """Reads every `interval_s` seconds in a thread and hands over to a publisher."""

    def __init__(self, read: Callable[[], Iterable[Reading]], publisher: MetricsPublisher, interval_s: float) -> None:
        self._read = read
        self._publisher = publisher
        self._interval_s = interval_s
        self._worked = False
        self._reported_s = time.monotonic()
        self._sent = 0
        self._readings, self._series = 0, 0

    async def run(self, stop: asyncio.Event) -> None:
        """Collect until `stop` is set; a source that fails later on is tried again at the next interval.

        Raises SourceError where the first reading fails.
        """
        try:
            await self._again_and_again(stop)
        finally:
            log.info("the collector ends", readings=self._readings, series=self._series)

    async def _again_and_again(self, stop: asyncio.Event) -> None:
        next_s = time.monotonic()
        while not stop.is_set():
            await self._once()
            self._report()
            # In step with the clock, but never hurrying after what a slow reading has missed.
            next_s = max(next_s + self._interval_s, time.monotonic())
            try:
                async with asyncio.timeout(next_s - time.monotonic()):
                    await stop.wait()
            except TimeoutError:
                continue

    async def _once(self) -> None:
        ts = round(time.time() * 1000)
        try:
            readings = await asyncio.to_thread(lambda: list(self._read()))
        except SourceError as error:
            if not self._worked:
                raise
            log.warning("nothing was read", error=str(error))
            return
        if not self._worked:
            log.info("first reading", series=len(readings))
        self._worked = True
        self._readings, self._series = self._readings + 1, len(readings)
        self._hand_over(readings, ts)

    def _hand_over(self, readings: Sequence[Reading], ts: int) -> None:
        for reading in readings:
            self._publisher.record(reading.name, reading.value, reading.labels, kind=reading.kind, ts=ts)

    def _report(self) -> None:
        if time.monotonic() - self._reported_s < _REPORT_S:
            return
        self._reported_s = time.monotonic()
        statistics = self._publisher.statistics
        grown, self._sent = statistics.sent - self._sent, statistics.sent
        tell = log.warning if statistics.waiting > grown or statistics.dropped else log.info
        tell("last minute", samples=grown, waiting=statistics.waiting, dropped_in_all=statistics.dropped)
