"""A small stage with state, and what tests need around it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from typing import TYPE_CHECKING

import numpy as np
from aiokafka import AIOKafkaProducer, TopicPartition

from pipeline.errors import StateError
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.snapshots import BLOCK_BYTES
from pipeline.runtime.spec import StageFactory, StageSpec, Timing
from pipeline.runtime.topology import create_topics
from pipeline.runtime.worker import run_worker
from pipeline.settings import Guarantee, KafkaSettings, RuntimeSettings, Settings, TopicSettings
from pipeline.stage import InputRecord, Output, SnapshotState, Topic
from tests.committed import committed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

_WIDTH = BLOCK_BYTES // 8
PATIENCE_S = 90.0
"""What is waited for takes a second or two; on a machine that does much else it may take long."""
FAST = Timing(session_timeout_s=6.0, heartbeat_s=0.5, rebalance_timeout_s=10.0, probe_s=0.3, backoff_min_s=0.01)


class RunningSums:
    """Sums the numbers of each key and writes every new sum; the output tells its input offset."""

    name = "sums"

    def __init__(self, source: TopicPartition) -> None:
        self.source = source
        self.sums: dict[str, int] = {}
        self.seen = 0

    def step(self, records: Sequence[InputRecord]) -> list[Output]:
        outputs = []
        for record in records:
            key = (record.key or b"").decode()
            self.sums[key] = self.sums.get(key, 0) + int(record.value or b"0")
            self.seen += 1
            value = json.dumps([record.partition, record.offset, key, self.sums[key]]).encode()
            outputs.append(Output(Topic.FRAMES, value, record.timestamp, record.key))
        return outputs

    def snapshot(self) -> SnapshotState:
        return {
            "seen": np.array([self.seen]),
            "keys": json.dumps(list(self.sums)).encode(),
            # A block a key: a snapshot writes those of the keys that moved.
            "sums": np.repeat(np.array(list(self.sums.values()), dtype=np.int64), _WIDTH).reshape(-1, _WIDTH),
        }

    def restore(self, state: SnapshotState) -> None:
        if set(state) != {"seen", "keys", "sums"}:
            raise StateError(f"parts {sorted(state)} are not those of running sums")
        self.seen = int(state["seen"][0])
        rows = np.asarray(state["sums"])
        if (rows != rows[:, :1]).any():
            raise StateError("a row of sums is of several snapshots")
        self.sums = dict(zip(json.loads(bytes(state["keys"])), rows[:, 0].tolist(), strict=True))

    def tick(self, elapsed_ms: int) -> Sequence[Output]:  # noqa: ARG002  the contract's signature
        return ()

    def statistics(self) -> Mapping[str, float]:
        return {"seen_total": self.seen, 'keys{kind="sum"}': len(self.sums)}


def settings_for(kafka: str, prefix: str, partitions: int = 4, **runtime: object) -> Settings:
    """Settings for a worker of one test."""
    defaults = {"group": f"{prefix}group", "http_port": 0, "commit_interval_s": 0.05, "snapshot_interval_s": 1.0}
    return Settings(
        kafka=KafkaSettings(bootstrap=kafka),
        topics=TopicSettings(prefix=prefix, samples_partitions=partitions, frames_partitions=2),
        runtime=RuntimeSettings.model_validate(defaults | runtime),
    )


def sums_spec(settings: Settings, factory: StageFactory = RunningSums) -> StageSpec:
    """Reads the samples topic, writes the frames topic (and its own, for ticks)."""
    name = settings.topics.name
    outputs = {role: name(role) for role in (Topic.FRAMES, Topic.SAMPLES)}
    return StageSpec("sums", (name(Topic.SAMPLES),), factory, outputs)


async def make_topics(settings: Settings) -> None:
    async with ClusterAdmin(settings.kafka) as admin:
        await create_topics(admin, settings)


@contextlib.asynccontextmanager
async def working(settings: Settings, factory: StageFactory = RunningSums, timing: Timing = FAST) -> AsyncIterator[str]:
    """A worker in this event loop, from ready to stopped; gives the address of its pages."""
    stop = asyncio.Event()
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    worker = asyncio.create_task(
        run_worker(settings, [sums_spec(settings, factory)], stop, on_ready=ready.set_result, timing=timing)
    )
    try:
        await asyncio.wait({worker, ready}, return_when=asyncio.FIRST_COMPLETED)
        if worker.done():
            worker.result()
        yield ready.result()
    finally:
        stop.set()
        await worker


async def feed(settings: Settings, numbers: Sequence[tuple[str, int]]) -> None:
    """Write numbers to the samples topic, those of a key to one partition."""
    topic = settings.topics.name(Topic.SAMPLES)
    partitions = settings.topics.samples_partitions
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap, linger_ms=5, max_batch_size=200_000) as out:
        futures = [
            await out.send(topic, str(number).encode(), key.encode(), partition=sum(key.encode()) % partitions)
            for key, number in numbers
        ]
        for future in futures:
            await future


async def read_all(settings: Settings, role: Topic = Topic.FRAMES) -> list[InputRecord]:
    """Every committed record of a topic, in the order of its partitions and offsets."""
    return await committed(settings, role)


async def so_far(settings: Settings, role: Topic = Topic.FRAMES) -> list[InputRecord]:
    """The same for whoever asks again and again: what is being committed at the moment is not waited for."""
    return await committed(settings, role, settle_s=0)


async def outputs_of(settings: Settings, count: int, within_s: float = PATIENCE_S) -> list[InputRecord]:
    """The outputs, as soon as there are so many."""

    async def enough() -> bool:
        return len(await so_far(settings)) >= count

    await until(enough, within_s)
    return await read_all(settings)


async def until(condition: Callable[[], Awaitable[bool]], within_s: float = PATIENCE_S) -> None:
    """Wait for a condition. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110  what is waited for is in another process
            await asyncio.sleep(0.1)


async def check_sums(settings: Settings) -> int:
    """Every input has exactly one output (at least one, where no more is promised) with the right sum; how many."""
    sums: dict[tuple[int, bytes | None], int] = {}
    expected = []
    for record in await read_all(settings, Topic.SAMPLES):
        place = (record.partition, record.key)
        sums[place] = sums.get(place, 0) + int(record.value or b"0")
        expected.append([record.partition, record.offset, (record.key or b"").decode(), sums[place]])
    found = sorted(json.loads(record.value or b"") for record in await read_all(settings))
    if settings.runtime.guarantee is Guarantee.AT_LEAST_ONCE:
        found = [value for value, _ in itertools.groupby(found)]
    assert len(found) == len(expected)
    assert found == sorted(expected)
    return len(found)
