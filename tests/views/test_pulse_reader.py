"""Whether samples arrive, seen on real Kafka."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from pipeline.batch import encode_batch
from pipeline.records import Frame, Provenance, SignalFrame, from_ms
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.clients import connection
from pipeline.runtime.topology import create_topics
from pipeline.settings import load_settings
from pipeline.stage import Topic
from pipeline.views import pulse
from pipeline.views.pulse import PulseState
from pipeline.views.pulse_reader import PulseReader
from tests.views.test_pulse import LEARNING_S, batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.views.pulse import Seen

    Sent = tuple[Topic, bytes, list[tuple[str, bytes]]]
    """Topic, value and headers of a message."""


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
    told = asyncio.run(_told(kafka, topic_prefix, [(topic, value, [])], lambda seen: seen.state is state))
    assert ("1 service (shop)" if state is PulseState.FLOWING else "duri run") in told


@pytest.mark.parametrize("expected", [None, 0.1])
def test_frames_tell_whether_a_service_is_still_learned(kafka: str, topic_prefix: str, expected: float | None) -> None:
    """By what they expect; a frame that cannot be read, and what else is on their topic, are passed."""
    signals = {"http.rps": SignalFrame(value=1.0, expected=expected), "cpu": SignalFrame(value=None)}
    frame = Frame(
        service="shop",
        start=from_ms(0),
        end=from_ms(60_000),
        signals=signals,
        settings={},
        source=Provenance(topic="duri.samples", partition=0, offset=1),
    )
    header = ("ce_type", Frame.event_type().encode())
    sent: list[Sent] = [
        (Topic.FRAMES, b"no frame", [header]),
        (Topic.FRAMES, b"no frame", []),
        (Topic.FRAMES, frame.model_dump_json().encode(), [header]),
        (Topic.SAMPLES, encode_batch(batch("shop")), []),
    ]
    rounds = iter(range(1000))
    told = asyncio.run(_told(kafka, topic_prefix, sent, lambda seen: "1 service" in seen.words and next(rounds) > 5))
    assert ("learning what is normal for 1 service (shop)" in told) == (expected is None)


async def _told(kafka: str, prefix: str, sent: Sequence[Sent], enough: Callable[[Seen], bool]) -> str:
    """What is said once it is enough, while these messages come again and again."""
    settings = load_settings(overrides={"kafka.bootstrap": kafka, "topics.prefix": prefix})
    async with ClusterAdmin(settings.kafka) as admin:
        await create_topics(admin, settings)
    async with (
        AIOKafkaProducer(bootstrap_servers=kafka) as producer,
        PulseReader(connection(settings.kafka), settings.topics, LEARNING_S) as reader,
        asyncio.timeout(20),
    ):
        while (seen := reader.seen()) is None or not enough(seen):
            await producer.send_and_wait(settings.topics.name(Topic.SAMPLES), b"no batch")
            for topic, value, headers in sent:
                await producer.send_and_wait(settings.topics.name(topic), value, headers=headers)
            await asyncio.sleep(0.1)
        return seen.words
