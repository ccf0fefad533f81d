"""A small dataset to learn on: two days of the generated system, with what the stages make of them, without a Kafka.

    python -m examples.tutorial_data FOLDER

The system is that of `duri demo` (docs/demo-data.md): four services, a sample a minute, four faults on the second day.
What a Kafka would have held is written as `duri dataset export` would have written it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.offline import Dataset
from pipeline.offline.dataset.columns import Window
from pipeline.offline.dataset.kafka import COLLECTORS
from pipeline.offline.dataset.staging import Request
from pipeline.offline.dataset.writer import adding
from pipeline.offline.flow import LocalFlow
from pipeline.records import cloudevent_headers, to_ms
from pipeline.settings import load_settings
from pipeline.sources.columnar import COLUMNAR_CONTENT_TYPE, encode_columnar
from pipeline.sources.duri_system import DuriSystem, Plan
from pipeline.stage import LogRecord, Output, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.records import ChangeEvent

DAYS = 2
SLICE_S = 1800.0


def generate(folder: Path | str, days: int = DAYS) -> Dataset:
    """Run the system through the stages, and keep all that they read and wrote."""
    system = DuriSystem(Plan(days=days, step_s=60.0))
    store_outputs(Path(folder), _written(system))
    return Dataset(folder)


def _written(system: DuriSystem) -> Iterator[Output]:
    flow = LocalFlow(load_settings())
    changes = list(system.changes())
    for block in system.blocks(SLICE_S):
        now = int(block.ts[-1])
        while changes and to_ms(changes[0].at) <= now:
            event = changes.pop(0)
            said = _control(event)
            yield from (said, *flow.publish([said]))
        headers = (("content-type", COLUMNAR_CONTENT_TYPE.encode()),)
        yield from flow.publish([Output(Topic.METRICS, encode_columnar(block), now, headers=headers)])
    yield from flow.finish()


def _control(event: ChangeEvent) -> Output:
    """A deploy as its author publishes it."""
    at = to_ms(event.at)
    headers = cloudevent_headers(event.event_type(), "/deployer", event.id, at)
    return Output(Topic.CONTROL, event.model_dump_json().encode(), at, headers=headers)


def store_outputs(folder: Path, outputs: Iterable[Output]) -> None:
    """These records as a dataset, each topic's into its tables."""
    with adding(folder, Request(source="kafka")) as writer:
        collectors = {topic: kind(writer.buckets) for topic, kind in COLLECTORS.items()}
        for offset, output in enumerate(outputs):
            record = LogRecord("", 0, offset, output.timestamp, output.key, output.value, output.headers)
            if output.topic in collectors:
                collectors[output.topic].add(record, Window())
        for collector in collectors.values():
            for rows in collector.take():
                writer.write(rows)
        writer.checkpoint(complete=True)
        writer.publish()


if __name__ == "__main__":
    generate(sys.argv[1])
