"""What the partitions of one stage share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition

from pipeline.runtime import clients
from pipeline.runtime.commit import AtLeastOnceWriter, Sender, SnapshotPlace, TransactionalWriter, Writer
from pipeline.runtime.outputs import Router, TopicFacts
from pipeline.settings import Guarantee, Settings
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import ThreadPoolExecutor

    from pipeline.runtime.admin import ClusterAdmin
    from pipeline.runtime.spec import StageSpec, Timing
    from pipeline.runtime.telemetry import Telemetry

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What all stages of a worker share."""

    settings: Settings
    timing: Timing
    admin: ClusterAdmin
    facts: Mapping[str, TopicFacts]
    """Of every topic that is written to."""
    telemetry: Telemetry
    pool: ThreadPoolExecutor
    partitions_held: Callable[[], int]

    async def in_thread(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Run a stage's work beside the event loop, so that heartbeats are never late."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, lambda: function(*args, **kwargs))

    def commit_interval(self) -> float:
        """Seconds between two commits of a partition: at most 100 transactions a second cost 16 % of a core."""
        return max(self.settings.runtime.commit_interval_s, self.partitions_held() / 100)


@dataclass(frozen=True, slots=True)
class StageContext:
    """What the partitions of one stage share while one consumer lives."""

    worker: WorkerContext
    spec: StageSpec
    consumer: AIOKafkaConsumer

    @property
    def group(self) -> str:
        """Consumer group of the stage."""
        return group_of(self.worker.settings, self.spec)

    def router(self, source: TopicPartition) -> Router:
        """Places for the outputs of one input partition."""
        return Router(self.spec.outputs, self.worker.facts, source)

    def place(self, source: TopicPartition) -> SnapshotPlace:
        """Place for the snapshots of one input partition."""
        state = self.worker.settings.topics.name(Topic.STATE)
        target = TopicPartition(state, source.partition % self.worker.facts[state].partitions)
        return SnapshotPlace(target, f"{self.spec.name}/{source.topic}/{source.partition}")

    def writer(self, source: TopicPartition) -> Writer:
        """A new writer for one input partition."""
        settings, facts = self.worker.settings, self.worker.facts
        producer = clients.producer(
            settings,
            identity=f"{self.group}.{source.topic}.{source.partition}",
            batch_bytes=min(settings.runtime.max_batch_bytes, *(fact.max_message_bytes for fact in facts.values())),
        )
        sender = Sender(source, facts, self.place(source))
        if settings.runtime.guarantee is Guarantee.EXACTLY_ONCE:
            return TransactionalWriter(producer, self.group, source, sender)
        return AtLeastOnceWriter(producer, self.consumer, source, sender)


def group_of(settings: Settings, spec: StageSpec) -> str:
    """Name of the consumer group of a stage."""
    return f"{settings.runtime.group}.{spec.name}"
