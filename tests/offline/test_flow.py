from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer

from pipeline.offline.flow import LocalFlow
from pipeline.runtime.drained import drained
from pipeline.runtime.stages import build_specs
from pipeline.runtime.worker import run_worker
from pipeline.settings import Settings, load_settings
from pipeline.stage import Output, Topic
from tests.offline.flows import FOUND, changes, comparable, local, metrics, troubled_system, written
from tests.runtime.toys import FAST, make_topics, read_all, so_far, until

if TYPE_CHECKING:
    from collections.abc import Sequence


async def publish(settings: Settings, messages: Sequence[Output]) -> None:
    """As LocalFlow is told them: in order, to the one partition."""
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap, linger_ms=5) as producer:
        for message in messages:
            topic = settings.topics.name(message.topic)
            await producer.send(topic, message.value, headers=list(message.headers), partition=0)
        await producer.flush()


async def live(settings: Settings, control: Sequence[Output], samples: Sequence[Output]) -> dict[Topic, list[str]]:
    """What the three stages write on Kafka for the same messages."""
    stop = asyncio.Event()
    specs = build_specs(settings)
    await make_topics(settings)
    worker = asyncio.create_task(run_worker(settings, specs, stop, timing=FAST))
    await publish(settings, control)

    async def told() -> bool:
        return len(await so_far(settings, Topic.FRAMES)) == len(control)

    # Control records come by another way than samples: here they are first, as they are in the local flow.
    await until(told)
    await publish(settings, samples)
    await drained(settings, specs)
    stop.set()
    await worker
    return {
        topic: comparable([record.value or b"" for record in await read_all(settings, topic)])
        for topic in (*FOUND, Topic.FRAMES)
    }


def test_offline_equals_live(kafka: str, topic_prefix: str) -> None:
    """The same messages through the local flow and through Kafka: the same frames, findings and advice."""
    settings = load_settings(
        overrides={
            "kafka.bootstrap": kafka,
            "topics.prefix": topic_prefix,
            "topics.metrics_partitions": 1,
            "topics.samples_partitions": 1,
            "topics.frames_partitions": 1,
            "runtime.group": topic_prefix,
            "runtime.http_port": 0,
            # Idle partitions would move event time on by the wall clock.
            "runtime.tick_after_s": 3600.0,
        }
    )
    system = troubled_system()
    control, samples = changes(system), metrics(system, hours=3, slice_s=60)
    outputs = local(settings, [*control, *samples])
    expected = {topic: written(outputs, topic) for topic in (*FOUND, Topic.FRAMES)}
    found = asyncio.run(live(settings, control, samples))
    assert {topic: len(records) for topic, records in found.items()} == {
        topic: len(records) for topic, records in expected.items()
    }
    assert found == expected
    assert {json.loads(record)["kind"] for record in found[Topic.RECOMMENDATIONS]} == {
        "redis.maxmemory",
        "deployment.rollback",
    }
    assert found[Topic.OUTCOMES]


def test_cuts_of_the_input_change_nothing() -> None:
    """Messages given one by one, or all at once: the local flow writes the same records."""
    settings = load_settings()
    system = troubled_system()
    messages = [*changes(system), *metrics(system, hours=2, slice_s=300)]
    at_once = list(LocalFlow(settings).publish(messages))
    one_by_one = local(settings, messages)
    for topic in FOUND:
        assert written(at_once, topic) == written(one_by_one, topic)
    assert written(at_once, Topic.ANOMALIES)


def test_the_end_of_the_data_closes_what_is_open() -> None:
    """`finish` closes the frames that still wait for later samples: one for each service and minute."""
    settings = load_settings()
    flow = LocalFlow(settings)
    messages = metrics(troubled_system(), hours=0.5, slice_s=600)
    before = written(flow.publish(messages), Topic.FRAMES)
    after = before + written(flow.finish(), Topic.FRAMES)
    frames = [json.loads(frame) for frame in after]
    assert len(after) > len(before)
    assert {frame["service"] for frame in frames} == {"duri_core", "duri_brain", "duri_control", "duri_evolution"}
    assert len({(frame["service"], frame["start"]) for frame in frames}) == len(frames)
    assert len(frames) >= 30 * 4
