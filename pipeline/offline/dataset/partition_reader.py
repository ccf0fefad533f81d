"""Reading one Kafka partition into files of a dataset, piece by piece: as much as memory may hold, then written.

What is written together depends on the log alone, not on polls, on what other partitions hold, or on who reads: so an
export that was stopped and went on, or that several machines share, has the same files as one that was not.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka import TopicPartition

from pipeline.errors import BrokerUnavailableError
from pipeline.offline.dataset.frame_rows import FrameRows
from pipeline.offline.dataset.record_rows import RecordRows
from pipeline.offline.dataset.sample_rows import SampleRows
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from aiokafka import AIOKafkaConsumer

    from pipeline.offline.dataset.columns import Window
    from pipeline.offline.dataset.manifest import DataFile
    from pipeline.offline.dataset.staging import Reading
    from pipeline.offline.dataset.writer import FileStore
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
_PATIENCE_S: Final = 30.0
_POLL_MS: Final = 500
_POLL_BYTES: Final = 8 << 20
"""What one poll brings at most, unfolded, as far as the size of the records before tells."""
_FEWEST, _MOST = 16, 5_000


class Windows(NamedTuple):
    """Event times to take: of records that no export has read before, and of those that one has."""

    new: Window
    again: Window


class Piece(NamedTuple):
    """What was read and written since the piece before: how far, files, records that could not be read."""

    reading: Reading
    files: tuple[DataFile, ...]
    unreadable: int


class PartitionReader:
    """Reads the rest of one partition; whoever has a piece may go on from its reading later, or elsewhere."""

    def __init__(
        self, consumer: AIOKafkaConsumer, topic: Topic, reading: Reading, windows: Windows, store: FileStore
    ) -> None:
        self._consumer = consumer
        self._reading = reading
        self._windows = windows
        self._store = store
        self._collector = COLLECTORS[topic](store.buckets)
        self._unreadable = 0

    @property
    def reading(self) -> Reading:
        """How far it is, pieces that are not written yet included."""
        return self._reading

    @property
    def rows(self) -> int:
        """Rows that are not written yet."""
        return self._collector.rows

    async def pieces(self) -> AsyncIterator[Piece | None]:
        """Pieces up to the partition's end, and None after each poll that has not filled one.

        Raises BrokerUnavailableError where Kafka gives nothing any more, FileError where a file cannot be written.
        """
        place = TopicPartition(self._reading.topic, self._reading.partition)
        self._consumer.assign([place])
        self._consumer.seek(place, self._reading.next)
        most = _FEWEST
        clock = asyncio.get_running_loop().time
        moved = clock()
        while not self._reading.finished:
            polled = await self._consumer.getmany(place, timeout_ms=_POLL_MS, max_records=most)
            records = [record for record in polled.get(place, ()) if record.offset < self._reading.end]
            for record in records:
                self._take(record)
                if self._collector.full:
                    self._move(record.offset + 1)
                    yield self._written()
            position = min(await self._consumer.position(place), self._reading.end)
            if position > self._reading.next:
                moved = clock()
            elif clock() - moved > _PATIENCE_S:
                raise BrokerUnavailableError(self._stuck())
            self._move(position)
            most = _next_poll(records, most)
            yield None
        yield self._written()

    def _take(self, record: InputRecord) -> None:
        reading = self._reading
        window = self._windows.again if record.offset < reading.known else self._windows.new
        try:
            newest = self._collector.add(record, window)
        except ValueError:
            self._unreadable += 1
            return
        if reading.resume is None and newest is not None and window.end is not None and newest >= window.end:
            self._reading = reading.model_copy(update={"resume": record.offset})

    def _move(self, position: int) -> None:
        self._reading = self._reading.model_copy(update={"next": position})

    def _written(self) -> Piece:
        files = tuple(file for rows in self._collector.take() for file in self._store.write(rows))
        self._reading = self._reading.model_copy(update={"files": self._store.count})
        piece, self._unreadable = Piece(self._reading, files, self._unreadable), 0
        return piece

    def _stuck(self) -> str:
        reading = self._reading
        return (
            f"{reading.topic}/{reading.partition} gives nothing from offset {reading.next} on, though it reaches to "
            f"{reading.end}; is the broker well? Repeat the command to go on"
        )


def _next_poll(records: Sequence[InputRecord], before: int) -> int:
    """How many records the next poll may bring, by the size of these."""
    if not records:
        return before
    size = sum(len(record.value or b"") for record in records) / len(records)
    return int(min(max(_POLL_BYTES / max(size, 1.0), _FEWEST), _MOST))
