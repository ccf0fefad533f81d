"""Exporting from Kafka: each record of the flow's topics once, in bounded memory; it goes on where it stopped."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import joblib
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from pipeline.errors import CREATE_TOPIC, BrokerError, FileError
from pipeline.offline.backends import SERIAL, Backend, Workers
from pipeline.offline.dataset.columns import Window
from pipeline.offline.dataset.offsets import Held, Rules, plan
from pipeline.offline.dataset.partition_reader import COLLECTORS, PartitionReader, Piece, Windows
from pipeline.offline.dataset.staging import in_progress
from pipeline.offline.dataset.writer import FileStore, adding
from pipeline.rights import told
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.clients import log_reader
from pipeline.runtime.ends import settled_ends
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from aiokafka import AIOKafkaConsumer

    from pipeline.offline.dataset.manifest import Manifest
    from pipeline.offline.dataset.staging import Reading, Request
    from pipeline.offline.dataset.writer import DatasetWriter
    from pipeline.settings import Settings

_WAIT_S: Final = 5.0
_PIECES: Final = 8
"""That one task on a backend reads of a partition: a checkpoint is not far, and to connect is little beside it."""


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
    workers: Workers = SERIAL
    """Where partitions are read; workers on other machines need the dataset's folder at the same place."""


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
                held = await _held(settings, consumer, places)
                writer.checkpoint(readings=await plan(consumer, held, request, writer.manifest, rules))
            await _Export(settings, folder, writer, report).run(consumer, options.workers)
            return writer.publish()


async def _held(
    settings: Settings, consumer: AIOKafkaConsumer, places: Sequence[TopicPartition]
) -> dict[TopicPartition, Held]:
    firsts, ends = await consumer.beginning_offsets(places), await settled_ends(consumer, settings.kafka, places)
    return {place: Held(firsts[place], ends[place]) for place in places}


@asynccontextmanager
async def _cluster(settings: Settings) -> AsyncIterator[tuple[AIOKafkaConsumer, list[TopicPartition]]]:
    """A reader, and all partitions to read. Raises BrokerError where a topic is missing or Kafka fails."""
    async with ClusterAdmin(settings.kafka, wait_s=_WAIT_S) as admin:
        found = await admin.topics()
    names = [settings.topics.name(topic) for topic in COLLECTORS]
    if missing := [name for name in names if name not in found]:
        raise BrokerError(
            f"{settings.kafka.bootstrap}: there is no topic {missing[0]}; check topics.prefix, or {CREATE_TOPIC}"
        )
    async with _consumer(settings) as consumer:
        yield consumer, [TopicPartition(name, number) for name in names for number in range(found[name])]


@asynccontextmanager
async def _consumer(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = log_reader(settings.kafka)
    try:
        await consumer.start()
        await asyncio.sleep(0)  # aiokafka cannot stop a consumer whose tasks have not had their first turn
        yield consumer
    except KafkaError as error:
        raise BrokerError(
            f"{settings.kafka.bootstrap}: the export stopped: {told(error)}; repeat the command"
        ) from error
    finally:
        await consumer.stop()


class Order(NamedTuple):
    """What a worker is to read: the rest of one partition, or the next pieces of it."""

    settings: Settings
    folder: Path
    topic: Topic
    reading: Reading
    windows: Windows
    prefix: str
    buckets: int

    def reader(self, consumer: AIOKafkaConsumer) -> PartitionReader:
        """Who reads it."""
        store = FileStore(self.folder, self.prefix, self.reading.files, self.buckets)
        return PartitionReader(consumer, self.topic, self.reading, self.windows, store)


def read_pieces(order: Order) -> Piece:
    """Read some pieces of a partition, with a Kafka client of its own; all of them as one."""
    return asyncio.run(_pieces(order))


async def _pieces(order: Order) -> Piece:
    read: list[Piece] = []
    _check_wanted(order.folder)
    async with _consumer(order.settings) as consumer:
        async for piece in order.reader(consumer).pieces():
            read += [] if piece is None else [piece]
            if len(read) == _PIECES:
                break
            _check_wanted(order.folder)
    files = tuple(file for piece in read for file in piece.files)
    return Piece(read[-1].reading, files, sum(piece.unreadable for piece in read))


def _check_wanted(folder: Path) -> None:
    """A worker may outlive the command that it works for. Raises FileError then."""
    if not in_progress(folder):
        raise FileError(f"{folder}: the export that a worker read this for has ended")


class _Export:
    """Reads what the last checkpoint has left to read."""

    def __init__(self, settings: Settings, folder: Path, writer: DatasetWriter, report: Callable[[Told], None]) -> None:
        self._settings = settings
        self._folder = folder
        self._writer = writer
        self._report = report
        progress = writer.progress
        self._readings = list(progress.readings)
        self._rows = sum(file.rows for file in progress.files)
        self._unreadable = progress.unreadable
        request = progress.request
        start = progress.after if request.start is None else request.start
        self._windows = Windows(new=Window(request.start, request.end), again=Window(start, request.end))

    async def run(self, consumer: AIOKafkaConsumer, workers: Workers) -> None:
        """Read everything to its end; the last checkpoint is complete then."""
        if workers.backend is Backend.SERIAL:
            await self._one_by_one(consumer)
        else:
            await asyncio.to_thread(self._side_by_side, workers)
        self._checkpoint(complete=True)

    async def _one_by_one(self, consumer: AIOKafkaConsumer) -> None:
        for number, order in self._orders():
            reader = order.reader(consumer)
            async for piece in reader.pieces():
                if piece is not None:
                    self._take(number, piece)
                self._tell(number, reader)

    def _side_by_side(self, workers: Workers) -> None:
        """Some pieces of each partition by turn, until all are read."""
        with workers.parallel() as parallel:
            while orders := list(self._orders()):
                work: Callable[..., Any] = joblib.delayed(read_pieces)
                pieces = parallel(work(order) for _, order in orders)
                for (number, _), piece in zip(orders, pieces, strict=True):
                    self._take(number, piece)
                    self._tell()

    def _orders(self) -> Iterator[tuple[int, Order]]:
        """What is left to read, by number of its reading."""
        topics = {self._settings.topics.name(topic): topic for topic in COLLECTORS}
        for number, reading in enumerate(self._readings):
            if not reading.finished:
                prefix = f"{self._writer.progress.number:04d}-{number:04d}"
                yield (
                    number,
                    Order(
                        self._settings,
                        self._folder,
                        topics[reading.topic],
                        reading,
                        self._windows,
                        prefix,
                        self._writer.buckets,
                    ),
                )

    def _take(self, number: int, piece: Piece) -> None:
        """Remember what is read and written."""
        self._readings[number] = piece.reading
        self._rows += sum(file.rows for file in piece.files)
        self._unreadable += piece.unreadable
        self._writer.add(piece.files)
        self._checkpoint()

    def _checkpoint(self, *, complete: bool = False) -> None:
        self._writer.checkpoint(readings=self._readings, unreadable=self._unreadable, complete=complete)

    def _tell(self, number: int = -1, reader: PartitionReader | None = None) -> None:
        """How far all are; of one that is being read, what is not written yet as well."""
        ahead = 0 if reader is None else reader.reading.next - self._readings[number].next
        self._report(
            Told(
                offsets=ahead + sum(one.next - one.start for one in self._readings),
                total=sum(one.end - one.start for one in self._readings),
                rows=self._rows + (0 if reader is None else reader.rows),
            )
        )
