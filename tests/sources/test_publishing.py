"""Publishing on real Kafka: what is published arrives once, in order, where the services of a lane meet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from typer.testing import CliRunner

from pipeline.cli.replay import replay
from pipeline.errors import BrokerError, BrokerUnavailableError
from pipeline.records import ChangeEvent
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.clients import connection
from pipeline.runtime.topology import create_topics
from pipeline.settings import Settings, load_settings
from pipeline.sources.columnar import COLUMNAR_CONTENT_TYPE
from pipeline.sources.duri_faults import BadDeploy
from pipeline.sources.duri_system import DuriSystem, Plan
from pipeline.sources.feed import feed
from pipeline.sources.lanes import lane_of
from pipeline.sources.publisher import Publisher
from pipeline.stage import Topic

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

APP = typer.Typer()
APP.command()(replay)


@pytest.fixture
def settings(kafka: str, topic_prefix: str) -> Settings:
    chosen = load_settings(overrides={"kafka.bootstrap": kafka, "topics.prefix": topic_prefix})

    async def create() -> None:
        async with ClusterAdmin(chosen.kafka) as admin:
            await create_topics(admin, chosen)

    asyncio.run(create())
    return chosen


async def everything(settings: Settings, topic: Topic) -> dict[int, list[Any]]:
    """All records of a topic by partition."""
    name = settings.topics.name(topic)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        parts = [TopicPartition(name, number) for number in range(settings.topics.partitions(topic))]
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        found: dict[int, list[Any]] = {part.partition: [] for part in parts}
        while sum(map(len, found.values())) < sum(ends.values()):
            for part, records in (await consumer.getmany(timeout_ms=200)).items():
                found[part.partition] += records
        return found
    finally:
        await consumer.stop()


def rows(records: list[Any]) -> list[tuple[int, str]]:
    """(ts, service) of every sample, in order."""
    result = []
    for record in records:
        message = msgspec.json.decode(record.value)
        services = [one["labels"]["service"] for one in message["series"]]
        index = message.get("index", range(len(services)))
        result += [(ts, services[place]) for ts, place in zip(message["ts"], index, strict=True)]
    return result


def test_a_generated_day_arrives_complete_and_in_order(settings: Settings) -> None:
    """Every sample once; the services of a lane in one partition, interleaved by time; changes on their own topic."""
    system = DuriSystem(Plan(days=1, step_s=600.0, faults=(BadDeploy(service="duri_control", start_s=7200.0),)))
    told: list[int] = []

    async def run() -> tuple[dict[int, list[Any]], dict[int, list[Any]]]:
        async def go_on(published: int) -> None:
            told.append(published)

        async with Publisher(connection(settings.kafka), settings.topics.name(Topic.METRICS)) as publisher:
            await feed(system, publisher, settings.topics, go_on)
        return await everything(settings, Topic.METRICS), await everything(settings, Topic.CONTROL)

    metrics, control = asyncio.run(run())
    assert sum(len(rows(records)) for records in metrics.values()) == system.samples == told[-1]
    for partition, records in metrics.items():
        found = rows(records)
        assert [ts for ts, _ in found] == sorted(ts for ts, _ in found)
        assert {lane_of(service, 4) for _, service in found} <= {partition}
        assert all(("content-type", COLUMNAR_CONTENT_TYPE.encode()) in record.headers for record in records)
    changes = [ChangeEvent.model_validate_json(record.value) for record in control[0]]
    assert [change.version for change in changes] == ["1.5.0", "1.4.2"]


def duri(*arguments: str) -> Result:
    return CliRunner().invoke(APP, list(arguments), env={"COLUMNS": "200"})


def test_replay_publishes_files_together(settings: Settings, topic_prefix: str, tmp_path: Path) -> None:
    """Two files, one missing value: told what was published and what was left out."""
    config = tmp_path / "duri.yaml"
    config.write_text(f"topics: {{prefix: {topic_prefix}}}\n")
    (tmp_path / "cpu_1.csv").write_text("timestamp,value\n2025-01-07 12:00:00,1\n2025-01-07 12:05:00,\n")
    (tmp_path / "cpu_2.csv").write_text("timestamp,value\n2025-01-07 12:01:00,2\n")
    files = [str(tmp_path / name) for name in ("cpu_1.csv", "cpu_2.csv")]
    result = duri(*files, "--bootstrap", settings.kafka.bootstrap, "--config", str(config))
    assert result.exit_code == 0, result.output
    assert "2 samples of 2 series published in" in result.stderr
    assert "left out: 1 missing value" in result.stderr
    published = asyncio.run(everything(settings, Topic.METRICS))
    services = {service for records in published.values() for _, service in rows(records)}
    assert services == {"cpu_1", "cpu_2"}


def test_nobody_at_the_address() -> None:
    """Named, with what to do."""

    async def run() -> None:
        async with Publisher({"bootstrap_servers": "127.0.0.1:9"}, "t"):
            pass

    with pytest.raises(BrokerUnavailableError, match=r"answers at 127\.0\.0\.1:9 \(PLAINTEXT\); check the address"):
        asyncio.run(run())


def test_topic_that_does_not_exist(kafka: str, topic_prefix: str) -> None:
    """Named, with what to do."""

    async def run() -> None:
        async with Publisher({"bootstrap_servers": kafka, "request_timeout_ms": 2000}, f"{topic_prefix}metrics"):
            pass

    with pytest.raises(BrokerError, match=f"{topic_prefix}metrics.*duri topics create"):
        asyncio.run(run())
