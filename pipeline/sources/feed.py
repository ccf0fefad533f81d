"""Publishing the generated system, as fast as whoever reads it keeps up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.records import cloudevent_headers, to_ms
from pipeline.sources.columnar import encode_columnar
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pipeline.records import ChangeEvent
    from pipeline.settings import TopicSettings
    from pipeline.sources.duri_system import DuriSystem
    from pipeline.sources.publisher import Publisher

SLICE_S = 600.0
"""Event time that one message covers."""


async def feed(
    system: DuriSystem,
    publisher: Publisher,
    topics: TopicSettings,
    may_go_on: Callable[[int], Awaitable[None]],
) -> None:
    """Publish what operators did, then all samples in order of time.

    The changes come first although they lie ahead: at hours in a second they would otherwise race the samples to
    the last stage. They carry their time, and nobody looks at one before it.

    `publisher` publishes on the metrics topic. `may_go_on` is told how many samples were published so far, and
    returns when more may come.
    """
    for change in system.changes():
        await _announce(publisher, topics.name(Topic.CONTROL), change)
    published = 0
    for block in system.blocks(SLICE_S, lanes=topics.samples_partitions):
        await publisher.publish(int(block.key), encode_columnar(block))
        published += block.samples
        await may_go_on(published)
    await publisher.flush()


async def _announce(publisher: Publisher, topic: str, change: ChangeEvent) -> None:
    headers = cloudevent_headers(change.event_type(), "/duri/generated-system", change.id, to_ms(change.at))
    await publisher.publish_record(topic, change.service, change.model_dump_json().encode(), headers)
