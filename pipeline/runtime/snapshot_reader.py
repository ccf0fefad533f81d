"""A snapshot read back from the state topic: its index, then its blocks at the offsets that the index names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

from aiokafka.errors import OffsetOutOfRangeError

from pipeline.errors import BrokerUnavailableError, StateError
from pipeline.runtime import clients
from pipeline.runtime.snapshots import Index, decode_index, decode_state
from pipeline.runtime.whole_snapshots import as_index, decode_whole, is_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from aiokafka import ConsumerRecord, TopicPartition

    from pipeline.runtime.commit import SnapshotPlace
    from pipeline.runtime.position import SnapshotPointer
    from pipeline.settings import KafkaSettings
    from pipeline.stage import SnapshotState

_WAIT_MS = 500
_TRIES = 60
_FAR = 32
"""Offsets that are read over rather than sought: a fetch brings about as many blocks."""


@dataclass(frozen=True, slots=True)
class ReadSnapshot:
    """A snapshot as it lies in the topic; `state` decodes it (CPU time) and raises StateError where it is damaged."""

    state: Callable[[], SnapshotState]
    index: Index
    size: int


class SnapshotReader:
    """Reads snapshots of one input partition."""

    def __init__(self, kafka: KafkaSettings, place: SnapshotPlace, stage: str) -> None:
        self._consumer = clients.log_reader(kafka)
        self._place = place
        self._stage = stage

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()

    async def read(self, pointer: SnapshotPointer) -> ReadSnapshot:
        """The snapshot. Raises StateError where parts are missing, BrokerUnavailableError where nobody answers."""
        target = self._place.target._replace(partition=pointer.partition)
        self._consumer.assign([target])
        data = await self._chunks(target, pointer)
        if is_whole(data):
            whole = partial(decode_whole, self._stage, data)
            return ReadSnapshot(whole, as_index(self._stage, pointer.chunks), len(data))
        index = decode_index(self._stage, data)
        blocks = await self._blocks(target, sorted({place.offset for place in index.places.values()}))
        size = len(data) + sum(map(len, blocks.values()))
        return ReadSnapshot(partial(decode_state, index, blocks), index, size)

    async def _chunks(self, target: TopicPartition, pointer: SnapshotPointer) -> bytes:
        """What the pointer points to."""
        records = await self._records(target, range(pointer.first, pointer.last + 1))
        chunks = [record.value for record in records if self._place.holds(record.key) and record.value is not None]
        name = f"{target.topic}/{target.partition}"
        if len(chunks) != pointer.chunks:
            raise StateError(
                f"{name}: {len(chunks)} of {pointer.chunks} chunks are at offsets {pointer.first} to {pointer.last}"
            )
        data = b"".join(chunks)
        digest = hashlib.sha256(data).hexdigest()
        if digest != pointer.sha256:
            raise StateError(
                f"snapshot of {self._stage} at {pointer.offset}: SHA-256 is {digest}, not {pointer.sha256}"
            )
        return data

    async def _blocks(self, target: TopicPartition, offsets: Sequence[int]) -> dict[int, bytes]:
        """What lies at these offsets (ascending); those that are not there any more are left out."""
        wanted = set(offsets)
        blocks: dict[int, bytes] = {}
        for stretch in _stretches(offsets):
            for record in await self._records(target, stretch):
                if record.offset in wanted and record.value is not None:
                    blocks[record.offset] = record.value
        return blocks

    async def _records(self, target: TopicPartition, offsets: range) -> list[ConsumerRecord]:
        """The committed records with these offsets (consecutive ones)."""
        consumer = self._consumer
        end = min((await consumer.end_offsets([target]))[target], offsets.stop)
        consumer.seek(target, offsets.start)
        found: list[ConsumerRecord] = []
        idle = 0
        try:
            while await consumer.position(target) < end:
                polled = await consumer.getmany(target, timeout_ms=_WAIT_MS)
                idle = 0 if polled else idle + 1
                if idle > _TRIES:
                    raise BrokerUnavailableError(f"{target.topic}/{target.partition} cannot be read: no answer")
                found += [record for record in polled.get(target, []) if record.offset < end]
        except OffsetOutOfRangeError as error:
            raise StateError(
                f"{target.topic}/{target.partition}: offset {offsets.start} is not there any more"
            ) from error
        return found


def _stretches(offsets: Sequence[int]) -> list[range]:
    """Runs of offsets to read in one go."""
    runs: list[range] = []
    for offset in offsets:
        if runs and offset - runs[-1].stop < _FAR:
            runs[-1] = range(runs[-1].start, offset + 1)
        else:
            runs.append(range(offset, offset + 1))
    return runs
