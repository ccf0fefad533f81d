"""`duri show` on a real broker: one recommendation, with all that is around it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
import typer
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner

from pipeline.cli.show import show
from pipeline.records import Outcome, RecommendationState
from pipeline.settings import Settings, load_settings
from pipeline.stage import Topic
from tests.runtime.toys import make_topics
from tests.views.fakes import at, in_incident, incident

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.records import Record

APP = typer.Typer()
APP.command()(show)
VERIFIED = Outcome(
    id="o", recommendation="abc1", rule="pool", at=at(30), result="verified", signal="db.pool", before=1.0, after=0.4
)


@pytest.mark.kafka
def test_all_that_is_around_it_is_shown(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """Its newest state, the other choices of its incident and no others, the incident and the outcome."""
    config = tmp_path / "duri.yaml"
    config.write_text(f"kafka: {{bootstrap: '{kafka}'}}\ntopics: {{prefix: '{topic_prefix}'}}\n", encoding="utf-8")
    story: list[tuple[Topic, Record]] = [
        (Topic.INCIDENTS, incident("i")),
        (Topic.RECOMMENDATIONS, in_incident("abc1", "i")),
        (Topic.RECOMMENDATIONS, in_incident("bcd2", "i", rank=2, rank_reason="explains less")),
        (Topic.RECOMMENDATIONS, in_incident("cde3", "another")),
        (Topic.RECOMMENDATIONS, in_incident("abc1", "i", state=RecommendationState.VERIFIED)),
        (Topic.OUTCOMES, VERIFIED),
    ]
    asyncio.run(_publish(load_settings(config), story))
    found = json.loads(CliRunner().invoke(APP, ["abc", "--json", "--config", str(config)]).output)
    assert found["recommendation"]["state"] == "verified"
    assert [one["id"] for one in found["others"]] == ["bcd2"]
    assert (found["incident"]["id"], found["outcome"]["result"]) == ("i", "verified")
    told = CliRunner().invoke(APP, ["abc", "--config", str(config)]).output
    assert "explains less" in told
    missing = CliRunner().invoke(APP, ["x", "--config", str(config)])
    assert (missing.exit_code, "duri watch --from-beginning" in missing.output) == (2, True)


async def _publish(settings: Settings, story: list[tuple[Topic, Record]]) -> None:
    await make_topics(settings)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        for topic, record in story:
            await producer.send_and_wait(settings.topics.name(topic), record.model_dump_json().encode(), partition=0)
        await producer.send_and_wait(settings.topics.name(Topic.OUTCOMES), b"not JSON")
