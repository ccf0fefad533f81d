"""A small stage with state, and what tests need around it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from pipeline.errors import StateError
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.spec import StageSpec, Timing
from pipeline.runtime.topology import create_topics
from pipeline.settings import KafkaSettings, RuntimeSettings, Settings, TopicSettings
from pipeline.stage import InputRecord, Output, SnapshotState, Topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FAST = Timing(session_timeout_s=6.0, heartbeat_s=0.5, rebalance_timeout_s=10.0, probe_s=0.3, backoff_min_s=0.02)


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
            "sums": np.array(list(self.sums.values()), dtype=np.int64),
        }

    def restore(self, state: SnapshotState) -> None:
        if set(state) != {"seen", "keys", "sums"}:
            raise StateError(f"parts {sorted(state)} are not those of running sums")
        self.seen = int(state["seen"][0])
        self.sums = dict(zip(json.loads(bytes(state["keys"])), (int(v) for v in state["sums"]), strict=True))

    def tick(self, elapsed_ms: int) -> Output | None:
        return None

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


def sums_spec(settings: Settings, factory: type[RunningSums] = RunningSums) -> StageSpec:
    """Reads the samples topic, writes the frames topic."""
    name = settings.topics.name
    return StageSpec("sums", (name(Topic.SAMPLES),), factory, {Topic.FRAMES: name(Topic.FRAMES)})


async def make_topics(settings: Settings) -> None:
    async with ClusterAdmin(settings.kafka) as admin:
        await create_topics(admin, settings)


async def feed(settings: Settings, numbers: Sequence[tuple[str, int]], partitions: int = 4) -> None:
    """Write numbers to the samples topic, each key to a partition of its own choice."""
    topic = settings.topics.name(Topic.SAMPLES)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap, linger_ms=5, max_batch_size=200_000) as out:
        futures = [
            await out.send(topic, str(number).encode(), key.encode(), partition=hash_of(key) % partitions)
            for key, number in numbers
        ]
        for future in futures:
            await future


def hash_of(key: str) -> int:
    return sum(key.encode())


async def read_all(settings: Settings, role: Topic = Topic.FRAMES) -> list[InputRecord]:
    """Every committed record of a topic, in the order of its partitions and offsets."""
    topic = settings.topics.name(role)
    async with AIOKafkaConsumer(bootstrap_servers=settings.kafka.bootstrap, isolation_level="read_committed") as reader:
        await reader._client._wait_on_metadata(topic)
        sources = [TopicPartition(topic, number) for number in sorted(reader.partitions_for_topic(topic) or ())]
        reader.assign(sources)
        ends = await reader.end_offsets(sources)
        records: list[InputRecord] = []
        for source in sources:
            reader.seek(source, 0)
        while any([await reader.position(source) < ends[source] for source in sources]):
            for got in (await reader.getmany(timeout_ms=200)).values():
                records += got
        return sorted(records, key=lambda record: (record.partition, record.offset))
