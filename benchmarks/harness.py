"""What the benchmarks share: a broker, topics of their own, filling a topic, running a worker until it is through."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import platform
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import structlog
from aiokafka import AIOKafkaProducer, TopicPartition

from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.broker import EmbeddedBroker
from pipeline.runtime.clients import log_reader
from pipeline.runtime.context import group_of
from pipeline.runtime.stages import build_specs
from pipeline.runtime.topology import create_topics
from pipeline.runtime.worker import run_worker
from pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from pipeline.runtime.spec import StageSpec
    from pipeline.stage import Topic


@contextlib.contextmanager
def broker() -> Iterator[str]:
    """Address of a broker: `DURI_BOOTSTRAP`, or an embedded one for as long as the block lasts."""
    own = os.environ.get("DURI_BOOTSTRAP")
    if own:
        yield own
        return
    with EmbeddedBroker(heap_mb=512) as kafka:
        yield kafka.bootstrap


def fresh_settings(bootstrap: str, **overrides: Any) -> Settings:
    """Settings with a topic prefix and a group of their own."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    name = f"bench-{uuid.uuid4().hex[:8]}"
    return load_settings(
        overrides={
            "kafka.bootstrap": bootstrap,
            "topics.prefix": f"{name}.",
            "runtime.group": name,
            "runtime.http_port": 0,
            **overrides,
        }
    )


Message = tuple[int, bytes, Sequence[tuple[str, bytes]]]
"""Partition, value, headers."""


async def fill(settings: Settings, topic: str, messages: Sequence[Message]) -> None:
    """Publish (partition, value, headers) messages in large batches."""
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap, compression_type="zstd", max_batch_size=900_000, linger_ms=20
    ) as producer:
        pending: set[asyncio.Future[Any]] = set()
        builders: dict[int, Any] = {}

        async def send(partition: int) -> None:
            batch = builders.pop(partition)
            batch.close()
            pending.add(await producer.send_batch(batch, topic, partition=partition))

        for partition, value, headers in messages:
            builder = builders.setdefault(partition, producer.create_batch())
            stamp = int(time.time() * 1000)
            if builder.append(key=None, value=value, timestamp=stamp, headers=list(headers)) is None:
                await send(partition)
                builders[partition] = producer.create_batch()
                builders[partition].append(key=None, value=value, timestamp=stamp, headers=list(headers))
        for partition in list(builders):
            await send(partition)
        await asyncio.gather(*pending)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a piece of work took, seconds."""

    cpu: float
    wall: float


@contextlib.asynccontextmanager
async def running(settings: Settings, specs: Sequence[StageSpec]) -> AsyncIterator[None]:
    """A worker with these stages for as long as the block lasts."""
    stop = asyncio.Event()
    ready = asyncio.Event()
    worker = asyncio.create_task(run_worker(settings, specs, stop, on_ready=lambda *_: ready.set()))
    waiter = asyncio.create_task(ready.wait())
    await asyncio.wait({worker, waiter}, return_when=asyncio.FIRST_COMPLETED)
    if worker.done():
        worker.result()
    try:
        yield
    finally:
        stop.set()
        await worker


async def drain(settings: Settings, stage: str, topic: str) -> Cost:
    """Run one stage in this process until all that is in `topic` is committed; its cost, start-up left out.

    `topic` holds no transaction markers (it was filled without transactions), so end offsets count records.
    """
    [spec] = build_specs(settings, [stage])
    group = group_of(settings, spec)
    async with ClusterAdmin(settings.kafka) as admin, log_reader(settings.kafka) as reader:
        partitions = (await admin.facts([topic]))[topic].partitions
        ends = await reader.end_offsets([TopicPartition(topic, number) for number in range(partitions)])

        async def behind() -> bool:
            for part, end in ends.items():
                committed = await admin.committed(group, part)
                if end and (committed is None or committed.offset < end):
                    return True
            return False

        async with running(settings, [spec]):
            cpu, wall = time.process_time(), time.perf_counter()
            while await behind():  # noqa: ASYNC110  what is waited for happens at the broker
                await asyncio.sleep(0.05)
            return Cost(time.process_time() - cpu, time.perf_counter() - wall)


async def make_topics(settings: Settings) -> None:
    """All topics of the flow."""
    async with ClusterAdmin(settings.kafka) as admin:
        await create_topics(admin, settings)


def topic_name(settings: Settings, topic: Topic) -> str:
    """Name of a topic of the flow."""
    return settings.topics.name(topic)


def resident_mb(pid: int | None = None) -> float:
    """Resident memory of a process, MB."""
    return float(psutil.Process(pid).memory_info().rss / 1e6)


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def report(name: str, figures: dict[str, Any]) -> None:
    """Print the one JSON line of a benchmark."""
    machine = {"cpus": os.cpu_count(), "python": platform.python_version()}
    sys.stdout.write(json.dumps({"benchmark": name, **figures, "machine": machine}) + "\n")
    sys.stdout.flush()
