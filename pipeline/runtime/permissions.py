"""Trying what a worker must be allowed to do: write in a transaction, read its topics, ask for its groups' offsets."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from pipeline.errors import BrokerError, BrokerUnavailableError
from pipeline.rights import missing_right
from pipeline.runtime import clients
from pipeline.stage import Topic

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer
    from aiokafka.structs import RecordMetadata

    from pipeline.runtime.admin import ClusterAdmin
    from pipeline.settings import Settings

_PATIENCE_S = 20.0
_FETCH_MS = 500
_APPENDED = 1
"""Kafka's timestamp type: stamped by the broker."""
_READERS = {Topic.METRICS: "ingest", Topic.SAMPLES: "detect", Topic.FRAMES: "advise"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """The broker refused: what it said, and what would help."""

    detail: str
    remedy: str


def _refusal(what: str, error: Exception) -> Refusal:
    cause = error.__cause__ or error  # our errors keep the client's
    right = missing_right(cause)
    return Refusal(f"{what}: {error!r}", f"grant the user {right}" if right else "look at the broker's log")


@dataclass(frozen=True, slots=True)
class Probe:
    """A transaction that was tried, seconds."""

    took_s: float
    ahead_s: float | None
    """This machine's clock less the broker's; None where the broker does not stamp records."""


async def try_writing(settings: Settings) -> Probe | Refusal:
    """Write in a transaction to the state topic, and to the dead letters for the broker's time; then abort it."""
    producer = clients.producer(
        settings, identity=f"{settings.runtime.group}.doctor", batch_bytes=settings.runtime.max_batch_bytes
    )
    started = time.monotonic()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await producer.start()
            ahead_s = await _aborted(producer, settings)
    except (KafkaError, OSError, TimeoutError) as error:
        return _refusal("a transaction fails", error)
    finally:
        await producer.stop()
    return Probe(time.monotonic() - started, ahead_s)


async def _aborted(producer: AIOKafkaProducer, settings: Settings) -> float | None:
    await producer.begin_transaction()
    try:
        await producer.send_and_wait(settings.topics.name(Topic.STATE), b"", key=b"doctor", partition=0)
        before = time.time()
        stamped: RecordMetadata = await producer.send_and_wait(
            settings.topics.name(Topic.DEADLETTER), b"", partition=0, headers=[("duri.error.reason", b"doctor")]
        )
        middle = (before + time.time()) / 2
    finally:
        await producer.abort_transaction()
    return middle - stamped.timestamp / 1000 if stamped.timestamp_type == _APPENDED else None


async def try_reading(settings: Settings, admin: ClusterAdmin) -> list[str] | Refusal:
    """Fetch from the stages' topics and ask for their groups' offsets; gives the groups."""
    places = {TopicPartition(settings.topics.name(topic), 0): stage for topic, stage in _READERS.items()}
    reader = clients.log_reader(settings.kafka)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await reader.start()
            reader.assign(list(places))
            await reader.seek_to_end(*places)
            # A refusal comes with the first fetch.
            await reader.getmany(timeout_ms=_FETCH_MS)
    except (KafkaError, OSError, TimeoutError) as error:
        return _refusal("the topics cannot be read", error)
    finally:
        await reader.stop()
    groups = {f"{settings.runtime.group}.{stage}": place for place, stage in places.items()}
    for group, place in groups.items():
        try:
            await _offsets(admin, group, place)
        except BrokerError as error:
            return _refusal(f"the offsets of {group} cannot be read", error)
    return list(groups)


async def _offsets(admin: ClusterAdmin, group: str, place: TopicPartition) -> None:
    clock = asyncio.get_running_loop().time
    until = clock() + _PATIENCE_S
    while True:
        try:
            await admin.committed(group, place)
        except BrokerUnavailableError:  # the coordinator of a new cluster takes a second to appear
            if clock() > until:
                raise
            await asyncio.sleep(_FETCH_MS / 1000)
        else:
            return
