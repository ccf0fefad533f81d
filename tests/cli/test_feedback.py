"""`duri feedback`: answers on a real broker, and what it refuses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import typer
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner

from pipeline.cli.feedback import Verdict, check, feedback, pick
from pipeline.errors import LifecycleError
from pipeline.records import Feedback, Recommendation, RecommendationState
from pipeline.runtime.bounded import read_all
from pipeline.settings import Settings, load_settings
from pipeline.stage import Topic
from tests.advise.helpers import SLOW, Fault, advise_on
from tests.runtime.toys import make_topics

if TYPE_CHECKING:
    from pathlib import Path

APP = typer.Typer()
APP.command()(feedback)


def recommendation(**changes: Any) -> Recommendation:
    """A real one."""
    fault = Fault({**SLOW, "app.pool.utilisation": 1.0, "app.pool.acquire.p95": 0.2}, rising=["http.latency.p95"])
    return Recommendation.model_validate({**advise_on(fault)[0], **changes})


def test_beginning_of_an_id_is_enough() -> None:
    """One match is meant; none and several are errors of use that say what to do."""
    known = {identity: recommendation(id=identity) for identity in ("abc1", "abd2")}
    assert pick(known, "abc").id == "abc1"
    with pytest.raises(typer.BadParameter, match="beginning of 2 ids: abc1, abd2"):
        pick(known, "ab")
    with pytest.raises(typer.BadParameter, match="duri watch"):
        pick(known, "x")


@pytest.mark.parametrize("verdict", list(Verdict))
def test_answers_to_what_is_over_are_refused(verdict: Verdict) -> None:
    """A verified recommendation takes no answer; a proposed one takes any."""
    check(recommendation(), verdict)
    with pytest.raises(LifecycleError, match="verified"):
        check(recommendation(state=RecommendationState.VERIFIED), verdict)


@pytest.mark.kafka
def test_answer_arrives_on_the_control_topic(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """By its first characters, with who and why; an unknown id changes nothing and ends with status 2."""
    config = tmp_path / "duri.yaml"
    config.write_text(f"kafka: {{bootstrap: '{kafka}'}}\ntopics: {{prefix: '{topic_prefix}'}}\n", encoding="utf-8")
    settings = load_settings(config)
    record = recommendation()
    asyncio.run(_publish(settings, record))
    arguments = [record.id[:6], "false-alarm", "--by", "ann", "--note", "it was the load test", "--config", str(config)]
    result = CliRunner().invoke(APP, arguments)
    assert result.exit_code == 0, result.output
    assert CliRunner().invoke(APP, ["nothing", "applied", "--config", str(config)]).exit_code == 2
    [said] = asyncio.run(_said(settings))
    assert (said.recommendation, said.verdict, said.by, said.note) == (
        record.id,
        "false_alarm",
        "ann",
        "it was the load test",
    )


async def _publish(settings: Settings, record: Recommendation) -> None:
    await make_topics(settings)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        await producer.send_and_wait(settings.topics.name(Topic.RECOMMENDATIONS), b"not JSON")
        await producer.send_and_wait(settings.topics.name(Topic.RECOMMENDATIONS), record.model_dump_json().encode())


async def _said(settings: Settings) -> list[Feedback]:
    return [Feedback.model_validate_json(record.value or b"") async for record in read_all(settings, Topic.CONTROL)]
