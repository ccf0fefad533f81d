"""State after a restart: from a snapshot, or by replay where there is none that can be read."""

from __future__ import annotations

import asyncio
import hashlib
import json
import struct
from typing import TYPE_CHECKING

import cramjam
import numpy as np
from aiokafka import AIOKafkaProducer, TopicPartition

from pipeline.errors import StateError
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.position import Position, SnapshotPointer, parse_position
from pipeline.stage import Topic
from tests.runtime.toys import (
    RunningSums,
    check_sums,
    feed,
    make_topics,
    outputs_of,
    read_all,
    settings_for,
    until,
    working,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pipeline.settings import Settings
    from pipeline.stage import InputRecord, Output, SnapshotState

NUMBERS = [(f"key{number % 17}", number) for number in range(3_000)]


class Observed(RunningSums):
    """Notes how it came to its state."""

    def __init__(self, source: TopicPartition) -> None:
        super().__init__(source)
        self.restored_at: int | None = None
        self.first_stepped: int | None = None
        made.append(self)

    def step(self, records: Sequence[InputRecord]) -> list[Output]:
        if self.first_stepped is None:
            self.first_stepped = records[0].offset
        return super().step(records)

    def restore(self, state: SnapshotState) -> None:
        super().restore(state)
        self.restored_at = self.seen


made: list[Observed] = []


async def position_of(settings: Settings, partition: int = 0) -> Position | None:
    source = TopicPartition(settings.topics.name(Topic.SAMPLES), partition)
    async with ClusterAdmin(settings.kafka) as admin:
        stored = await admin.committed(f"{settings.runtime.group}.sums", source)
    return None if stored is None else parse_position(stored.offset, stored.metadata)


async def run_over(settings: Settings, numbers: Sequence[tuple[str, int]], outputs: int) -> None:
    """A worker from ready to stopped while these numbers come in."""
    async with working(settings, Observed):
        await feed(settings, numbers)
        await outputs_of(settings, outputs)


def lines(records: Sequence[InputRecord]) -> dict[tuple[int, bytes | None], list[tuple[bytes | None, object]]]:
    """Outputs of each key in their order, as bytes."""
    found: dict[tuple[int, bytes | None], list[tuple[bytes | None, object]]] = {}
    for record in records:
        found.setdefault((record.partition, record.key), []).append((record.value, tuple(record.headers)))
    return found


def test_restored_equals_uninterrupted(kafka: str, topic_prefix: str) -> None:
    """Stopped and restored twice, a worker writes the same bytes as one that was never stopped."""
    once = settings_for(kafka, f"{topic_prefix}once-")
    thrice = settings_for(kafka, f"{topic_prefix}thrice-")

    async def story() -> None:
        await make_topics(once)
        await make_topics(thrice)
        await run_over(once, NUMBERS, 3_000)
        made.clear()
        for turn in range(3):
            await run_over(thrice, NUMBERS[turn * 1_000 : (turn + 1) * 1_000], (turn + 1) * 1_000)
        assert lines(await read_all(once)) == lines(await read_all(thrice))

    asyncio.run(story())
    assert len(made) == 12
    assert all(stage.restored_at is not None for stage in made[4:])
    # The last snapshot of a stopped worker leaves nothing to replay: what was stepped was new.
    assert all(stage.first_stepped == stage.restored_at for stage in made[4:])


def test_records_after_the_snapshot_are_replayed_without_their_outputs(kafka: str, topic_prefix: str) -> None:
    """A worker that had no time for a last snapshot leaves records behind; they rebuild state and write nothing."""
    settings = settings_for(kafka, topic_prefix, partitions=1, snapshot_interval_s=0.5)

    async def story() -> None:
        await make_topics(settings)
        async with working(settings, Observed):
            await feed(settings, NUMBERS[:500])

            async def snapshot_taken() -> bool:
                position = await position_of(settings)
                return position is not None and position.snapshot is not None

            await until(snapshot_taken)
        # As if killed right after its last commit: the offset moves on, the pointer stays.
        before = await position_of(settings)
        assert before is not None
        assert before.snapshot is not None
        hurried = settings_for(kafka, topic_prefix, partitions=1, snapshot_interval_s=1e6, shutdown_s=1e-6)
        await run_over(hurried, NUMBERS[500:900], 900)
        after = await position_of(settings)
        assert after is not None
        assert (after.offset, after.snapshot) == (900, before.snapshot)
        made.clear()
        await run_over(settings, NUMBERS[900:1_000], 1_000)
        assert await check_sums(settings) == 1_000

    asyncio.run(story())
    assert made[0].restored_at == made[0].first_stepped == 500


async def spoil_state(settings: Settings) -> None:
    """Overwrite every chunk with junk and let the committed offsets point there."""
    state = settings.topics.name(Topic.STATE)
    source = TopicPartition(settings.topics.name(Topic.SAMPLES), 0)
    position = await position_of(settings)
    assert position is not None
    assert position.snapshot is not None
    key = f"sums/{source.topic}/0/0".encode()
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as out:
        junk = await out.send_and_wait(state, b"no snapshot", key, partition=0)
    metadata = position.metadata().replace(
        f'"f":{position.snapshot.first},"l":{position.snapshot.last}', f'"f":{junk.offset},"l":{junk.offset}'
    )
    await commit(settings, source, position.offset, metadata)


async def commit(settings: Settings, source: TopicPartition, offset: int, metadata: str) -> None:
    """Commit in the group's name, as an operator's tool does."""
    from aiokafka import AIOKafkaConsumer  # noqa: PLC0415  only here

    group = f"{settings.runtime.group}.sums"
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap, group_id=group, enable_auto_commit=False
    ) as consumer:
        consumer.assign([source])
        await consumer.commit({source: (offset, metadata)})


def test_a_damaged_snapshot_is_replaced_by_replay(
    kafka: str, topic_prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Chunks that are not what was written are noticed, said loudly, and the state is rebuilt from the input."""
    settings = settings_for(kafka, topic_prefix, partitions=1)

    async def story() -> None:
        await make_topics(settings)
        await run_over(settings, NUMBERS[:500], 500)
        await spoil_state(settings)
        made.clear()
        await run_over(settings, NUMBERS[500:800], 800)
        assert await check_sums(settings) == 800

    asyncio.run(story())
    # The first is the one whose restore failed; the second rebuilt the state from the beginning.
    assert [stage.first_stepped for stage in made] == [None, 0]
    assert "SHA-256" in capsys.readouterr().out


def whole_snapshot(state: SnapshotState) -> bytes:
    """A state as programs up to format 1 wrote it; see `whole_snapshots.py`."""
    parts, body = [], b""
    for name, part in state.items():
        raw = part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes()
        packed = bytes(cramjam.zstd.compress(raw))
        form = {} if isinstance(part, bytes) else {"dtype": part.dtype.str, "shape": list(part.shape)}
        parts.append({"name": name, "size": len(packed), **form})
        body += packed
    head = json.dumps({"v": 1, "stage": "sums", "parts": parts}).encode()
    return struct.pack("<4sI", b"DURI", len(head)) + head + body


def test_a_snapshot_of_an_earlier_program_is_taken_over(kafka: str, topic_prefix: str) -> None:
    """After an upgrade state comes from the old snapshot; later ones are in blocks, and the old chunk goes."""
    settings = settings_for(kafka, topic_prefix, partitions=1, snapshot_interval_s=0.3)
    source = TopicPartition(settings.topics.name(Topic.SAMPLES), 0)
    before = RunningSums(source)
    before.sums, before.seen = {"key1": 100}, 10

    async def story() -> list[bytes | None]:
        await make_topics(settings)
        await feed(settings, [("key1", 10)] * 10)
        data = whole_snapshot(before.snapshot())
        key = f"sums/{source.topic}/0/0".encode()
        async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as out:
            at = (await out.send_and_wait(settings.topics.name(Topic.STATE), data, key, partition=0)).offset
        pointer = SnapshotPointer(10, 0, at, at, 1, len(data), hashlib.sha256(data).hexdigest())
        await commit(settings, source, 10, Position(10, pointer).metadata())
        made.clear()
        for turn in range(1, 4):
            await run_over(settings, [("key1", 1)] * 5, 5 * turn)
        assert [json.loads(record.value or b"")[3] for record in await read_all(settings)] == list(range(101, 116))
        return [record.value for record in await read_all(settings, Topic.STATE) if record.key == key]

    values = asyncio.run(story())
    assert made[0].restored_at == 10
    assert not (values[-1] or b"").startswith(b"DURI")


class Changed(Observed):
    """A later program whose state has another form."""

    def restore(self, state: SnapshotState) -> None:  # noqa: ARG002  the contract's signature
        raise StateError("version 1 of the state, this program reads version 2")


def test_a_snapshot_the_stage_refuses_is_replaced_by_replay(kafka: str, topic_prefix: str) -> None:
    """A stage may refuse an old program's snapshot and starts over from the input, without repeating outputs."""
    settings = settings_for(kafka, topic_prefix, partitions=1)

    async def story() -> None:
        await make_topics(settings)
        await run_over(settings, NUMBERS[:500], 500)
        async with working(settings, Changed):
            await feed(settings, NUMBERS[500:600])
            await outputs_of(settings, 600)
        assert await check_sums(settings) == 600

    asyncio.run(story())


def test_an_offset_set_by_hand_without_metadata_is_taken(kafka: str, topic_prefix: str) -> None:
    """An operator moves the group forward: nothing is written for what was skipped, and the state has seen it."""
    settings = settings_for(kafka, topic_prefix, partitions=1)

    async def story() -> list[InputRecord]:
        await make_topics(settings)
        await feed(settings, [("a", 1)] * 10)
        await commit(settings, TopicPartition(settings.topics.name(Topic.SAMPLES), 0), 6, "")
        async with working(settings):
            return await outputs_of(settings, 4)

    outputs = asyncio.run(story())
    assert [record.value for record in outputs] == [f'[0, {at}, "a", {at + 1}]'.encode() for at in range(6, 10)]
