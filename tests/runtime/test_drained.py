"""Waiting for stages, on real Kafka."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from aiokafka import TopicPartition

from pipeline.runtime import drained as module
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.clients import log_reader
from pipeline.runtime.context import group_of
from pipeline.runtime.drained import drained
from pipeline.settings import Guarantee
from pipeline.stage import Topic
from tests.runtime.toys import PATIENCE_S, RunningSums, feed, make_topics, settings_for, sums_spec, working

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.stage import InputRecord, Output


@pytest.mark.parametrize("transactions", [False, True])
def test_a_slow_broker_is_not_taken_for_an_empty_topic(
    kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch, transactions: bool
) -> None:
    """A poll that brings nothing in its time proves nothing: what is there must be committed, or be no record."""
    monkeypatch.setattr(module, "_LOOK_S", 0.001)
    guarantee = Guarantee.EXACTLY_ONCE if transactions else Guarantee.AT_LEAST_ONCE
    settings = settings_for(kafka, topic_prefix, partitions=2, guarantee=guarantee)
    spec = sums_spec(settings)
    released = threading.Event()

    class Held(RunningSums):
        def step(self, records: Sequence[InputRecord]) -> list[Output]:
            released.wait()
            return super().step(records)

    async def left_over() -> int:
        """Records that are not committed at the moment at which the wait ends."""
        await drained(settings, [spec])
        places = [TopicPartition(settings.topics.name(Topic.SAMPLES), number) for number in range(2)]
        async with ClusterAdmin(settings.kafka) as admin, log_reader(settings.kafka) as reader:
            ends = await reader.end_offsets(places)
            done = [await admin.committed(group_of(settings, spec), place) for place in places]
        return sum(ends.values()) - sum(one.offset for one in done if one is not None)

    async def run() -> int:
        await make_topics(settings)
        async with asyncio.timeout(PATIENCE_S), working(settings, Held):
            await feed(settings, [(f"k{number % 7}", number) for number in range(500)])
            waiting = asyncio.create_task(left_over())
            await asyncio.sleep(1.0)
            released.set()
            return await waiting

    assert asyncio.run(run()) == 0
