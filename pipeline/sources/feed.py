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
    """Publish all samples in order of time, and each change event just before the samples that follow it.

    `publisher` publishes on the metrics topic. `may_go_on` is told how many samples were published so far, and
    returns when more may come.
    """
    changes = system.changes()
    published = 0
    control = topics.name(Topic.CONTROL)
    for block in system.blocks(SLICE_S, lanes=topics.samples_partitions):
        while changes and to_ms(changes[0].at) <= block.ts[-1]:
            await _announce(publisher, control, changes.pop(0))
        await publisher.publish(int(block.key), encode_columnar(block))
        published += block.samples
        await may_go_on(published)
    for change in changes:
        await _announce(publisher, control, change)
    await publisher.flush()


async def _announce(publisher: Publisher, topic: str, change: ChangeEvent) -> None:
    headers = cloudevent_headers(change.event_type(), "/duri/generated-system", change.id, to_ms(change.at))
    await publisher.publish_record(topic, change.service, change.model_dump_json().encode(), headers)
