"""Where a partition starts, and with which state.

The writer must have been started before: only then is an earlier owner fenced and its open transaction settled, and
the committed offset final.

    1 committed  the offset and the pointer in its metadata
    2 kept       a stage of this worker that stands exactly there needs nothing (a rebalance gave it back)
    3 snapshot   read the index at the offsets that the pointer names, then its blocks where it says they lie; restore
    4 replay     from the snapshot's offset to the committed one the outputs are thrown away; without a readable
                 snapshot, from the earliest record that is still there
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from pipeline.errors import StateError
from pipeline.runtime.position import Position, parse_position
from pipeline.runtime.snapshot_reader import SnapshotReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka import TopicPartition

    from pipeline.runtime.context import StageContext
    from pipeline.runtime.position import SnapshotPointer
    from pipeline.runtime.snapshots import Index
    from pipeline.runtime.spec import StageFactory
    from pipeline.stage import SnapshotState, Stage

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """A stage that stopped in good order, and where."""

    stage: Stage
    position: Position
    stateful: bool
    index: Index | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """How a partition begins: outputs of records below `mute_until` are thrown away."""

    stage: Stage
    position: Position
    first: int
    mute_until: int
    stateful: bool
    index: Index | None = None
    """Of the snapshot that the position points to, where its blocks are known to be there."""


async def recover(context: StageContext, source: TopicPartition, kept: Kept | None) -> Start:
    """Steps 1 to 4 for one partition. Raises what the client raises."""
    worker, telemetry = context.worker, context.worker.telemetry
    # 1 committed
    position = await _committed(context, source)
    # 2 kept
    if kept is not None and kept.position == position:
        telemetry.restored(context.spec.name, "kept")
        return Start(kept.stage, position, position.offset, position.offset, kept.stateful, kept.index)
    stage, stateful = await worker.in_thread(_fresh, context.spec.factory, source)
    earliest = (await context.consumer.beginning_offsets([source]))[source]
    if not stateful:
        return Start(stage, position, _within(source, position.offset, earliest), position.offset, stateful=False)
    # 3 snapshot
    first, index = earliest, None
    if position.snapshot is not None:
        restored, index = await _restore(context, source, stage, position.snapshot)
        if restored:
            first = _within(source, position.snapshot.offset, earliest)
        else:
            # A restore that failed halfway may have left anything behind.
            stage = await worker.in_thread(context.spec.factory, source)
    # 4 replay
    if position.offset > first:
        log.info("replaying", **_names(context, source), first=first, until=position.offset)
    if position.offset > earliest:
        telemetry.restored(context.spec.name, "replay" if first == earliest else "snapshot")
    return Start(stage, position, first, position.offset, stateful=True, index=index)


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


async def _restore(
    context: StageContext, source: TopicPartition, stage: Stage, pointer: SnapshotPointer
) -> tuple[bool, Index | None]:
    """Whether the stage is restored, and the index of what the next snapshot need not write again."""
    worker, place = context.worker, context.place(source)
    try:
        async with SnapshotReader(worker.settings.kafka, place, context.spec.name) as reader:
            snapshot = await reader.read(pointer)
        await worker.in_thread(_restore_from, stage, snapshot.state)
    except StateError:
        log.exception("the snapshot cannot be restored; state is rebuilt by replay", **_names(context, source))
        return False, None
    log.info("restored", **_names(context, source), snapshot=pointer.offset, bytes=snapshot.size)
    # Blocks in another partition (the topic was given more) are not those of the next snapshot.
    return True, snapshot.index if pointer.partition == place.target.partition else None


def _restore_from(stage: Stage, decode: Callable[[], SnapshotState]) -> None:
    stage.restore(decode())


def _names(context: StageContext, source: TopicPartition) -> dict[str, object]:
    return {"stage": context.spec.name, "topic": source.topic, "partition": source.partition}
