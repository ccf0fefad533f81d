"""Three hours of a generated system with a fault and a bad deploy, and what the stages make of them without Kafka."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from pipeline.offline.flow import LocalFlow
from pipeline.records import cloudevent_headers, to_ms
from pipeline.sources.columnar import COLUMNAR_CONTENT_TYPE, encode_columnar
from pipeline.sources.duri_faults import BadDeploy, CacheEvicting
from pipeline.sources.duri_system import DuriSystem, Plan
from pipeline.stage import Output, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.settings import Settings

FOUND = (Topic.ANOMALIES, Topic.INCIDENTS, Topic.RECOMMENDATIONS, Topic.OUTCOMES)
_PLACES = ("provenance", "source")
"""Where in the log a record's cause lies: offsets differ, because transactions leave markers in a real one."""


def troubled_system() -> DuriSystem:
    """A Redis that fills up after half an hour, and a bad deploy elsewhere later on."""
    cache = CacheEvicting(service="duri_brain", start_s=1800, rise_s=1800, duration_s=5400)
    return DuriSystem(Plan(days=1, faults=(cache, BadDeploy(service="duri_control", start_s=6000, duration_s=2400))))


def changes(system: DuriSystem) -> list[Output]:
    """What operators did, for `duri.control`."""
    return [
        Output(
            topic=Topic.CONTROL,
            value=event.model_dump_json().encode(),
            timestamp=to_ms(event.at),
            headers=cloudevent_headers(event.event_type(), "/deployer", event.id, to_ms(event.at)),
        )
        for event in system.changes()
    ]


def metrics(system: DuriSystem, hours: float, slice_s: float) -> list[Output]:
    """The first hours of the samples, one message for each slice of time."""
    ends = to_ms(system.plan.start + timedelta(hours=hours))
    return [
        Output(
            topic=Topic.METRICS,
            value=encode_columnar(block),
            timestamp=int(block.ts[-1]),
            headers=(("content-type", COLUMNAR_CONTENT_TYPE.encode()),),
        )
        for block in takewhile(lambda block: block.ts[-1] < ends, system.blocks(slice_s))
    ]


def local(settings: Settings, messages: Iterable[Output]) -> list[Output]:
    """All that the stages write for these messages, one after the other; frames open at the end stay open."""
    flow = LocalFlow(settings)
    return [output for message in messages for output in flow.publish([message])]


def written(outputs: Iterable[Output], topic: Topic) -> list[str]:
    """The records of one topic, sorted; see `comparable`."""
    return comparable(output.value for output in outputs if output.topic is topic)


def comparable(values: Iterable[bytes]) -> list[str]:
    """Records without their places, sorted; what is no service's frame (watermarks, control) is left out."""
    return sorted(_plain(json.loads(value)) for value in _records(values))


def _records(values: Iterable[bytes]) -> Iterator[bytes]:
    return (value for value in values if b'"schema_version"' in value)


def _plain(record: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in record.items() if name not in _PLACES}, sort_keys=True)
