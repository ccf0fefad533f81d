"""What is on `duri.metrics`, as a reader of committed records sees it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.topology import create_topics
from pipeline.settings import Settings, load_settings
from pipeline.stage import Topic
from tests.committed import committed

if TYPE_CHECKING:
    from collections.abc import Iterable


class Row(NamedTuple):
    """One sample of a columnar message; `labels` is JSON with sorted keys."""

    name: str
    labels: str
    ts: int
    value: float
    kind: str


def settings_with_topics(kafka: str, prefix: str, **overrides: Any) -> Settings:
    """Settings of topics of one's own, created."""
    settings = load_settings(
        overrides={
            "kafka.bootstrap": kafka, "topics.prefix": prefix, "runtime.group": f"{prefix}group",
            **{name.replace("__", "."): value for name, value in overrides.items()},
        }
    )  # fmt: skip

    async def create() -> None:
        async with ClusterAdmin(settings.kafka) as admin:
            await create_topics(admin, settings)

    asyncio.run(create())
    return settings


async def read_rows(settings: Settings) -> list[Row]:
    """All samples on the metrics topic, partition by partition in order."""
    records = await committed(settings, Topic.METRICS)
    return [row for record in records for row in rows_of(json.loads(record.value))]


def rows_of(message: dict[str, Any]) -> Iterable[Row]:
    """The samples of a columnar message."""
    series = message["series"]
    index = message.get("index", range(len(series)))
    times = message["ts"] if isinstance(message["ts"], list) else [message["ts"]] * len(message["value"])
    for at, ts, value in zip(index, times, message["value"], strict=True):
        one = series[at]
        yield Row(one["name"], json.dumps(one["labels"], sort_keys=True), ts, value, one["kind"])
