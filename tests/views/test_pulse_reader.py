"""Whether samples arrive, seen on real Kafka."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer

from pipeline.batch import encode_batch
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.clients import connection
from pipeline.runtime.topology import create_topics
from pipeline.settings import load_settings
from pipeline.stage import Topic
from pipeline.views import pulse
from pipeline.views.pulse import PulseState
from pipeline.views.pulse_reader import PulseReader
from tests.views.test_pulse import batch


@pytest.mark.parametrize(
    ("topic", "value", "state"),
    [
        (Topic.SAMPLES, encode_batch(batch("shop", rows=3)), PulseState.FLOWING),
        (Topic.METRICS, b"{}", PulseState.UNREAD),
    ],
)
def test_what_arrives_is_seen(
    kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch, topic: Topic, value: bytes, state: PulseState
) -> None:
    """Samples, with their service; or messages of which nobody makes samples. A message that is no batch is passed."""
    monkeypatch.setattr(pulse, "PATIENCE_S", 0.5)
    settings = load_settings(overrides={"kafka.bootstrap": kafka, "topics.prefix": topic_prefix})

    async def run() -> str:
        async with ClusterAdmin(settings.kafka) as admin:
            await create_topics(admin, settings)
        async with (
            AIOKafkaProducer(bootstrap_servers=kafka) as producer,
            PulseReader(connection(settings.kafka), settings.topics) as reader,
            asyncio.timeout(20),
        ):
            while (seen := reader.seen()) is None or seen.state is not state:
                await producer.send_and_wait(settings.topics.name(Topic.SAMPLES), b"no batch")
                await producer.send_and_wait(settings.topics.name(topic), value)
                await asyncio.sleep(0.1)
            return seen.words

    assert ("1 service (shop)" if state is PulseState.FLOWING else "duri run") in asyncio.run(run())
