"""A short history of the generated system on Kafka, as the stages would have written it."""

from __future__ import annotations

import asyncio
import math
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer

from examples.tutorial_data import store_outputs
from pipeline.offline.dataset import kafka
from pipeline.offline.dataset.staging import Request
from pipeline.offline.flow import LocalFlow
from pipeline.records import ChangeEvent, Feedback, MaintenanceWindow, cloudevent_headers, from_ms, to_ms
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.topology import create_topics
from pipeline.settings import Settings, load_settings
from pipeline.sources.duri_faults import CacheEvicting
from pipeline.sources.duri_system import DuriSystem, Plan
from pipeline.stage import Output, Topic
from tests.offline.flows import changes, metrics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.offline.dataset.manifest import Manifest

HOURS = 3
START = to_ms(Plan().start)
HOUR = 3_600_000
ALL = Request(source="kafka")


@dataclass(frozen=True)
class Flowed:
    """What stands on Kafka, topic by topic."""

    settings: Settings
    outputs: Sequence[Output]

    def of(self, topic: Topic) -> list[Output]:
        return [output for output in self.outputs if output.topic is topic]


def system(days: int = 1) -> DuriSystem:
    """A Redis that fills up after half an hour."""
    return DuriSystem(
        Plan(days=days, faults=(CacheEvicting(service="duri_brain", start_s=1800, rise_s=1800, duration_s=7200),))
    )


def export(past: Flowed, folder: Path, request: Request = ALL, **options: bool) -> Manifest:
    """As `duri dataset export` does it, without the seconds that a process takes to start."""
    return asyncio.run(kafka.export(past.settings, folder, request, kafka.Options(**options)))


def store(folder: Path, past: Flowed) -> None:
    """The history as a dataset, without a Kafka between them."""
    store_outputs(folder, past.outputs)


def said(record: Feedback | MaintenanceWindow | ChangeEvent) -> Output:
    """A control record as its author publishes it."""
    at = to_ms(record.at)
    headers = cloudevent_headers(record.event_type(), "/test", record.id, at)
    return Output(Topic.CONTROL, record.model_dump_json().encode(), at, headers=headers)


def history(prefix: str, bootstrap: str, hours: float = HOURS, frame_s: float = 60.0) -> Flowed:
    """What the stages write in the first hours, and what people say; nothing is published yet."""
    settings = settings_of(bootstrap, prefix, frame_s)
    generated = system(math.ceil(hours / 24))
    control = [
        *changes(generated),
        said(ChangeEvent(id="c1", at=from_ms(START + HOUR), service="duri_core", version="2")),
        said(Feedback(id="f1", at=from_ms(START + HOUR), recommendation="r1", verdict="false_alarm", by="ada")),
        said(
            MaintenanceWindow(
                id="m1", at=from_ms(START), start=from_ms(START + HOUR), end=from_ms(START + 2 * HOUR), services=["x"]
            )
        ),
    ]
    flow = LocalFlow(settings)
    messages = [*control, *metrics(generated, hours, frame_s)]
    return Flowed(settings, [*control, *(output for message in messages for output in flow.publish([message]))])


def settings_of(bootstrap: str, prefix: str, frame_s: float = 60.0) -> Settings:
    return load_settings(
        overrides={
            "detect.frame_s": frame_s,
            "kafka.bootstrap": bootstrap,
            "topics.prefix": prefix,
            "topics.samples_partitions": 2,
            "runtime.group": prefix,
        }
    )


def new_prefix() -> str:
    return f"dataset-{uuid.uuid4().hex[:8]}-"


def create(settings: Settings) -> None:
    async def run() -> None:
        async with ClusterAdmin(settings.kafka) as admin:
            await create_topics(admin, settings)

    asyncio.run(run())


def publish(settings: Settings, outputs: Sequence[Output], transactions: int = 3) -> None:
    """In so many transactions, which leave their markers in the log; samples alternate between their partitions."""

    async def run() -> None:
        async with AIOKafkaProducer(
            bootstrap_servers=settings.kafka.bootstrap, transactional_id=f"{settings.topics.prefix}test"
        ) as producer:
            size, samples = -(-len(outputs) // transactions), 0
            for begin in range(0, len(outputs), size):
                async with producer.transaction():
                    for output in outputs[begin : begin + size]:
                        samples += output.topic is Topic.SAMPLES
                        partition = samples % 2 if output.topic is Topic.SAMPLES else 0
                        await producer.send(
                            settings.topics.name(output.topic),
                            output.value,
                            key=output.key,
                            headers=list(output.headers),
                            timestamp_ms=output.timestamp,
                            partition=partition,
                        )

    asyncio.run(run())
