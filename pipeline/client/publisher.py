"""Publishing a service's metrics from within the service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pipeline.client.buffer import Buffer
from pipeline.client.delivery import Delivery
from pipeline.client.instruments import GUIDE_BUCKETS, Counter, Gauge, Histogram
from pipeline.client.messages import Raw, Snapshots, raw_messages
from pipeline.client.registry import SERVICE, Registry, SeriesKey, labels_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_KINDS = ("gauge", "counter", "bucket")
# Outside of these, ingest would take a number of ms for one of seconds or µs.
_EARLIEST, _LATEST = 10**11, 10**14

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What became of a publisher's samples since it was made."""

    sent: int
    """Confirmed by the broker."""
    waiting: int
    """In the buffer."""
    dropped: int
    """Given up: the buffer was full, or the time to flush was over."""
    invalid: int
    """No finite numbers, or what a counter cannot take; never buffered."""
    refused: int
    """Of series beyond the limit, or with too many or too long labels; never buffered."""
    failures: int
    """Times that the broker did not take a message."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a publisher may take of its service."""

    buffered: int = 100_000
    """Samples that wait at most while the broker is away; then the oldest go, and are counted."""
    series: int = 10_000
    """Series of counters, gauges and histograms; samples of further ones are counted only."""
    flush_s: float = 5.0
    """Seconds that leaving may take."""


class MetricsPublisher:
    """Publishes counters, gauges, histograms and raw samples of a service; use it as an async context manager.

    Nothing that a service calls while it serves raises or waits, whether Kafka is there or not: values are kept in
    memory, and a task publishes them every `interval_s` seconds as columnar JSON keyed by service. `limits` bounds what
    waits while the broker is away, and how long leaving the context may take to flush. Instruments may be made and
    used before and after, and from any thread.

    `labels` are put on every series. Further keyword arguments are those of `aiokafka.AIOKafkaProducer`, for
    security (`security_protocol`, `sasl_mechanism`, `ssl_context`, …).
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        service: str,
        labels: Mapping[str, str] | None = None,
        topic: str = "duri.metrics",
        interval_s: float = 10.0,
        limits: Limits | None = None,
        **kafka: Any,
    ) -> None:
        self._limits = limits or Limits()
        self._registry = Registry({**(labels or {}), SERVICE: service}, self._limits.series)
        self._snapshots = Snapshots(self._registry)
        self._raw: deque[Raw] = deque()
        self._raw_dropped = 0
        self._buffer = Buffer(self._limits.buffered)
        self._delivery = Delivery({"bootstrap_servers": bootstrap_servers, **kafka}, topic, self._buffer)
        self._interval_s = interval_s
        self._tasks: list[asyncio.Task[None]] = []

    def counter(self, name: str) -> Counter:
        """A total that only grows; name it `…_total`."""
        return Counter(self._registry, name)

    def gauge(self, name: str) -> Gauge:
        """A level."""
        return Gauge(self._registry, name)

    def histogram(self, name: str, buckets: Sequence[float] = GUIDE_BUCKETS) -> Histogram:
        """A distribution; `buckets` are the upper bounds without infinity, by default the guide's, in seconds."""
        return Histogram(self._registry, name, buckets)

    def record(
        self,
        name: str,
        value: float,
        labels: Mapping[str, object] | None = None,
        *,
        kind: str = "gauge",
        ts: int | None = None,
    ) -> None:
        """One raw sample, as of now or of `ts` (ms since 1970); `kind` is gauge, counter or bucket.

        The samples of a series must come in order of time.
        """
        sample = self._sample(name, value, labels or {}, kind, ts)
        with self._registry.lock:
            if sample is None:
                self._registry.invalid += 1
            elif not sample.series.is_acceptable:
                self._registry.refused += 1
            else:
                if len(self._raw) >= self._limits.buffered:
                    self._raw.popleft()
                    self._raw_dropped += 1
                self._raw.append(sample)

    def _sample(self, name: str, value: float, labels: Mapping[str, object], kind: str, ts: int | None) -> Raw | None:
        """The sample where it can be published."""
        try:
            number = float(value)
            when = round(time.time() * 1000 if ts is None else ts)
        except (TypeError, ValueError, OverflowError):
            return None
        if not math.isfinite(number) or kind not in _KINDS or not _EARLIEST <= when < _LATEST:
            return None
        return Raw(SeriesKey(name, labels_of(self._registry.constant, labels), kind), when, number)

    @property
    def statistics(self) -> Statistics:
        """What became of the samples so far."""
        return Statistics(
            sent=self._delivery.sent,
            waiting=self._buffer.samples + len(self._raw),
            dropped=self._buffer.dropped + self._raw_dropped,
            invalid=self._registry.invalid,
            refused=self._registry.refused,
            failures=self._delivery.failures,
        )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Begin to publish; returns at once, whether Kafka is there or not."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._collect_often()), asyncio.create_task(self._delivery.run())]

    async def flush(self) -> bool:
        """Publish everything up to now; whether the broker had confirmed it within `limits.flush_s`."""
        self._collect()
        try:
            async with asyncio.timeout(self._limits.flush_s):
                await self._delivery.drained()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Flush and end; what could not be delivered in time is given up and counted. Raises nothing."""
        if not self._tasks:
            return
        delivered = await self.flush()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if not delivered:
            log.warning("%d samples of metrics were not delivered in time", self._buffer.samples)
            while len(self._buffer):
                self._buffer.drop()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(self._limits.flush_s):
                await self._delivery.close()

    async def _collect_often(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            self._collect()

    def _collect(self) -> None:
        with self._registry.lock:
            raw = list(self._raw)
            self._raw.clear()
        self._buffer.put(raw_messages(raw))
        self._buffer.put(self._snapshots.take(round(time.time() * 1000)))
        self._delivery.work.set()
