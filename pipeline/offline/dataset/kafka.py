"""Exporting from Kafka: each record of the flow's topics once, in bounded memory; it goes on where it stopped."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from pipeline.errors import BrokerError, BrokerUnavailableError
from pipeline.offline.dataset.columns import Window
from pipeline.offline.dataset.frame_rows import FrameRows
from pipeline.offline.dataset.offsets import Rules, plan
from pipeline.offline.dataset.record_rows import RecordRows
from pipeline.offline.dataset.sample_rows import SampleRows
from pipeline.offline.dataset.writer import adding
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.clients import log_reader
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from aiokafka import AIOKafkaConsumer

    from pipeline.offline.dataset.columns import Collector
    from pipeline.offline.dataset.manifest import Manifest
    from pipeline.offline.dataset.staging import Reading, Request
    from pipeline.offline.dataset.writer import DatasetWriter
    from pipeline.settings import Settings
    from pipeline.stage import InputRecord

COLLECTORS: Final[Mapping[Topic, type[SampleRows | FrameRows | RecordRows]]] = {
    Topic.SAMPLES: SampleRows,
    Topic.FRAMES: FrameRows,
    Topic.ANOMALIES: RecordRows,
    Topic.INCIDENTS: RecordRows,
    Topic.RECOMMENDATIONS: RecordRows,
    Topic.OUTCOMES: RecordRows,
    Topic.CONTROL: RecordRows,
}
_WAIT_S: Final = 5.0
_PATIENCE_S: Final = 30.0
_POLL_MS: Final = 500
_POLL_BYTES: Final = 8 << 20
"""What one poll brings at most, unfolded, as far as the size of the records before tells."""
_FEWEST, _MOST = 16, 5_000


@dataclass(frozen=True, slots=True)
class Told:
    """How far an export is: offsets read of those to read, and rows written."""

    offsets: int
    total: int
    rows: int


@dataclass(frozen=True, slots=True)
class Options:
    """How to export."""

    restart: bool = False
    """Throw away what an unfinished export has staged."""
    allow_missing: bool = False
    """Export what is left of a range that Kafka no longer holds from its start."""
    buckets: int | None = None
    """Service buckets of a new dataset."""


async def export(
    settings: Settings,
    folder: Path,
    request: Request,
    options: Options | None = None,
    report: Callable[[Told], None] = lambda _: None,
) -> Manifest:
    """Add what Kafka holds of this range of event time to the dataset; the manifest then.

    Without a start it goes on where the dataset ends, without an end it reads all there is now. Raises FileError for
    the folder, BrokerError for Kafka; the dataset is then as it was, and what is staged is gone on with.
    """
    options = options or Options()
    async with _cluster(settings) as (consumer, places):
        with adding(folder, request, restart=options.restart, buckets=options.buckets) as writer:
            if not writer.progress.readings:
                rules = Rules(
                    untimed=settings.topics.name(Topic.CONTROL),
                    ahead_ms=round(settings.ingest.max_future_s * 1000),
                    allow_missing=options.allow_missing,
                )
                writer.checkpoint(readings=await plan(consumer, places, request, writer.manifest, rules))
            await _Export(settings, consumer, writer, report).run()
            return writer.publish()


@asynccontextmanager
async def _cluster(settings: Settings) -> AsyncIterator[tuple[AIOKafkaConsumer, list[TopicPartition]]]:
    """A reader, and all partitions to read. Raises BrokerError where a topic is missing or Kafka fails."""
    async with ClusterAdmin(settings.kafka, wait_s=_WAIT_S) as admin:
        found = await admin.topics()
    names = [settings.topics.name(topic) for topic in COLLECTORS]
    if missing := [name for name in names if name not in found]:
        raise BrokerError(
            f"{settings.kafka.bootstrap}: there is no topic {missing[0]}; check topics.prefix, "
            "or create it with `duri topics create`"
        )
    consumer = log_reader(settings.kafka)
    try:
        await consumer.start()
        await asyncio.sleep(0)  # aiokafka cannot stop a consumer whose tasks have not had their first turn
        yield consumer, [TopicPartition(name, number) for name in names for number in range(found[name])]
    except KafkaError as error:
        raise BrokerError(f"{settings.kafka.bootstrap}: the export stopped: {error!r}; repeat the command") from error
    finally:
        await consumer.stop()


class _Export:
    """Reads what the last checkpoint has left to read."""

    def __init__(
        self,
        settings: Settings,
        consumer: AIOKafkaConsumer,
        writer: DatasetWriter,
        report: Callable[[Told], None],
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._writer = writer
        self._report = report
        progress = writer.progress
        self._readings = {TopicPartition(one.topic, one.partition): one for one in progress.readings}
        self._rows = sum(file.rows for file in progress.files)
        self._unreadable = progress.unreadable
        request = progress.request
        self._window = Window(request.start, request.end)
        self._window_again = Window(progress.after if request.start is None else request.start, request.end)

    async def run(self) -> None:
        """Read everything to its end; the last checkpoint is complete then.

        Partition by partition, and what is written together depends on the log alone, not on polls: so an export
        that was stopped and went on has the same files as one that was not.
        """
        for topic, kind in COLLECTORS.items():
            name = self._settings.topics.name(topic)
            collector = kind(self._writer.buckets)
            for place, reading in self._readings.items():
                if place.topic == name and not reading.finished:
                    await self._read(place, collector)
            self._flush(collector)
        self._checkpoint(complete=True)

    async def _read(self, place: TopicPartition, collector: Collector) -> None:
        self._consumer.assign([place])
        self._consumer.seek(place, self._readings[place].next)
        most = _FEWEST
        clock = asyncio.get_running_loop().time
        moved = clock()
        while not (reading := self._readings[place]).finished:
            polled = await self._consumer.getmany(place, timeout_ms=_POLL_MS, max_records=most)
            records = [record for record in polled.get(place, ()) if record.offset < reading.end]
            for record in records:
                self._take(place, record, collector)
            position = min(await self._consumer.position(place), reading.end)
            if position > reading.next:
                moved = clock()
            elif clock() - moved > _PATIENCE_S:
                raise BrokerUnavailableError(self._stuck(reading))
            self._move(place, position)
            most = _next_poll(records, most)
            self._tell(collector.rows)

    def _take(self, place: TopicPartition, record: InputRecord, collector: Collector) -> None:
        reading = self._readings[place]
        window = self._window_again if record.offset < reading.known else self._window
        newest = self._add(collector, record, window)
        if reading.resume is None and newest is not None and window.end is not None and newest >= window.end:
            self._readings[place] = reading.model_copy(update={"resume": record.offset})
        if collector.full:
            self._move(place, record.offset + 1)
            self._flush(collector)

    def _move(self, place: TopicPartition, position: int) -> None:
        self._readings[place] = self._readings[place].model_copy(update={"next": position})

    def _add(self, collector: Collector, record: InputRecord, window: Window) -> int | None:
        try:
            return collector.add(record, window)
        except ValueError:
            self._unreadable += 1
            return None

    def _flush(self, collector: Collector) -> None:
        """Write what is collected, and remember that it is written."""
        self._rows += collector.rows
        for rows in collector.take():
            self._writer.write(rows)
        self._checkpoint()

    def _checkpoint(self, *, complete: bool = False) -> None:
        self._writer.checkpoint(readings=self._readings.values(), unreadable=self._unreadable, complete=complete)

    def _tell(self, collected: int) -> None:
        readings = self._readings.values()
        self._report(
            Told(
                offsets=sum(one.next - one.start for one in readings),
                total=sum(one.end - one.start for one in readings),
                rows=self._rows + collected,
            )
        )

    def _stuck(self, reading: Reading) -> str:
        return (
            f"{self._settings.kafka.bootstrap}: {reading.topic}/{reading.partition} gives nothing from offset "
            f"{reading.next} on, though it reaches to {reading.end}; is the broker well? Repeat the command to go on"
        )


def _next_poll(records: Sequence[InputRecord], before: int) -> int:
    """How many records the next poll may bring, by the size of these."""
    if not records:
        return before
    size = sum(len(record.value or b"") for record in records) / len(records)
    return int(min(max(_POLL_BYTES / max(size, 1.0), _FEWEST), _MOST))
