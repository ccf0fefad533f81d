"""Where a partition starts, and with which state.

The writer must have been started before: only then is an earlier owner fenced and its open transaction settled, and
the committed offset final.

    1 committed  the offset and the pointer in its metadata
    2 kept       a stage of this worker that stands exactly there needs nothing (a rebalance gave it back)
    3 snapshot   read the chunks from the first to the last offset that the pointer names, restore
    4 replay     from the snapshot's offset to the committed one the outputs are thrown away; without a readable
                 snapshot, from the earliest record that is still there
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import OffsetOutOfRangeError

from pipeline.errors import BrokerUnavailableError, StateError
from pipeline.runtime import clients
from pipeline.runtime.position import Position, SnapshotPointer, parse_position
from pipeline.runtime.snapshots import decode_state

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    from pipeline.runtime.commit import SnapshotPlace
    from pipeline.runtime.context import StageContext
    from pipeline.runtime.spec import StageFactory
    from pipeline.stage import Stage

_CHUNK_WAIT_MS = 500
_CHUNK_TRIES = 60

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """A stage that stopped in good order, and where."""

    stage: Stage
    position: Position
    stateful: bool


@dataclass(frozen=True, slots=True)
class Start:
    """How a partition begins: outputs of records below `mute_until` are thrown away."""

    stage: Stage
    position: Position
    first: int
    mute_until: int
    stateful: bool


async def recover(context: StageContext, source: TopicPartition, kept: Kept | None) -> Start:
    """Steps 1 to 4 for one partition. Raises what the client raises."""
    worker, telemetry = context.worker, context.worker.telemetry
    # 1 committed
    position = await _committed(context, source)
    # 2 kept
    if kept is not None and kept.position == position:
        telemetry.restored(context.spec.name, "kept")
        return Start(kept.stage, position, position.offset, position.offset, kept.stateful)
    stage, stateful = await worker.in_thread(_fresh, context.spec.factory, source)
    earliest = (await context.consumer.beginning_offsets([source]))[source]
    if not stateful:
        return Start(stage, position, _within(source, position.offset, earliest), position.offset, stateful=False)
    # 3 snapshot
    first = earliest
    if position.snapshot is not None:
        if await _restore(context, source, stage, position.snapshot):
            first = _within(source, position.snapshot.offset, earliest)
        else:
            # A restore that failed halfway may have left anything behind.
            stage = await worker.in_thread(context.spec.factory, source)
    # 4 replay
    if position.offset > first:
        log.info("replaying", **_names(context, source), first=first, until=position.offset)
    if position.offset > earliest:
        telemetry.restored(context.spec.name, "replay" if first == earliest else "snapshot")
    return Start(stage, position, first, position.offset, stateful=True)


def _fresh(factory: StageFactory, source: TopicPartition) -> tuple[Stage, bool]:
    stage = factory(source)
    return stage, bool(stage.snapshot())


async def _committed(context: StageContext, source: TopicPartition) -> Position:
    stored = await context.worker.admin.committed(context.group, source)
    if stored is None:
        earliest = await context.consumer.beginning_offsets([source])
        return Position(earliest[source])
    end = (await context.consumer.end_offsets([source]))[source]
    if stored.offset > end:
        log.error(
            "the committed offset lies behind the end: the topic was made anew; starting at its beginning",
            **_names(context, source),
            committed=stored.offset,
            end=end,
        )
        earliest = await context.consumer.beginning_offsets([source])
        return Position(earliest[source])
    try:
        return parse_position(stored.offset, stored.metadata)
    except StateError:
        log.exception("the snapshot cannot be found; state is rebuilt by replay", **_names(context, source))
        return Position(stored.offset)


def _within(source: TopicPartition, wanted: int, earliest: int) -> int:
    if wanted < earliest:
        log.error(
            "records were deleted before they were read: raise the topic's retention",
            topic=source.topic,
            partition=source.partition,
            first=wanted,
            last=earliest - 1,
        )
    return max(wanted, earliest)


async def _restore(context: StageContext, source: TopicPartition, stage: Stage, pointer: SnapshotPointer) -> bool:
    place = context.place(source)
    worker = context.worker
    try:
        reader = clients.log_reader(worker.settings.kafka)
        await reader.start()
        try:
            data = await read_chunks(reader, place, pointer)
        finally:
            await reader.stop()
        await worker.in_thread(_decode_into, stage, context.spec.name, data, pointer)
    except StateError:
        log.exception("the snapshot cannot be restored; state is rebuilt by replay", **_names(context, source))
        return False
    log.info("restored", **_names(context, source), snapshot=pointer.offset, bytes=pointer.size)
    return True


def _decode_into(stage: Stage, name: str, data: bytes, pointer: SnapshotPointer) -> None:
    digest = hashlib.sha256(data).hexdigest()
    if digest != pointer.sha256:
        raise StateError(f"snapshot of {name} at {pointer.offset}: SHA-256 is {digest}, not {pointer.sha256}")
    stage.restore(decode_state(name, data))


async def read_chunks(reader: AIOKafkaConsumer, place: SnapshotPlace, pointer: SnapshotPointer) -> bytes:
    """The snapshot's bytes. Raises StateError where chunks are missing, BrokerUnavailableError where nobody answers."""
    target = place.target._replace(partition=pointer.partition)
    reader.assign([target])
    end = (await reader.end_offsets([target]))[target]
    chunks: dict[bytes, bytes] = {}
    try:
        await _collect(reader, target, pointer, min(end, pointer.last + 1), chunks)
    except OffsetOutOfRangeError as error:
        raise StateError(f"{target.topic}/{target.partition}: offset {pointer.first} is not there any more") from error
    wanted = [f"{place.prefix}/{number}".encode() for number in range(pointer.chunks)]
    missing = [key.decode() for key in wanted if key not in chunks]
    if missing:
        raise StateError(f"{target.topic}/{target.partition}: chunks {missing[:3]} of {pointer.chunks} are missing")
    return b"".join(chunks[key] for key in wanted)


async def _collect(
    reader: AIOKafkaConsumer,
    target: TopicPartition,
    pointer: SnapshotPointer,
    end: int,
    chunks: dict[bytes, bytes],
) -> None:
    reader.seek(target, pointer.first)
    idle = 0
    while await reader.position(target) < end:
        polled = await reader.getmany(target, timeout_ms=_CHUNK_WAIT_MS)
        idle = 0 if polled else idle + 1
        if idle > _CHUNK_TRIES:
            raise BrokerUnavailableError(f"{target.topic}/{target.partition} cannot be read: no answer")
        for record in polled.get(target, []):
            if pointer.first <= record.offset <= pointer.last:
                chunks[record.key] = record.value


def _names(context: StageContext, source: TopicPartition) -> dict[str, object]:
    return {"stage": context.spec.name, "topic": source.topic, "partition": source.partition}
