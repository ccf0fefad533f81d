"""`duri announce` on a real broker: what is said stands on `duri.control` as the stages read it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from pipeline.cli.announce import announce
from pipeline.ingest.control import ControlStage
from pipeline.records import ChangeEvent, MaintenanceWindow, Muting
from pipeline.runtime.bounded import read_all
from pipeline.settings import load_settings
from pipeline.stage import Topic, header
from tests.runtime.toys import make_topics

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from pipeline.records import Record
    from pipeline.stage import InputRecord

KINDS = {kind.event_type().encode(): kind for kind in (ChangeEvent, MaintenanceWindow, Muting)}


@pytest.fixture
def config(kafka: str, topic_prefix: str, tmp_path: Path) -> Path:
    """Settings of topics that are there."""
    path = tmp_path / "duri.yaml"
    path.write_text(f"kafka: {{bootstrap: '{kafka}'}}\ntopics: {{prefix: '{topic_prefix}'}}\n", encoding="utf-8")
    asyncio.run(make_topics(load_settings(path)))
    return path


def told(config: Path, *arguments: str) -> Result:
    """What the command answers."""
    return CliRunner().invoke(announce, [*arguments, "--config", str(config)])


def said(config: Path) -> list[Record]:
    """What stands on `duri.control`, each as the record that its header names; the control stage takes all of it."""

    async def read() -> list[InputRecord]:
        return [record async for record in read_all(load_settings(config), Topic.CONTROL)]

    records = asyncio.run(read())
    stage = ControlStage(samples_partitions=1, frames_partitions=1)
    assert {output.topic for output in stage.step(records)} <= {Topic.SAMPLES, Topic.FRAMES}
    return [KINDS[header(one, "ce_type") or b""].model_validate_json(one.value or b"") for one in records]


@pytest.mark.kafka
def test_deploy_and_change(config: Path) -> None:
    """Who, what and when; a moment may lie in the past."""
    deploy = ("deploy", "shop", "--version", "2.1", "--previous", "2.0", "--at", "2026-01-31T12:00:00Z", "--by", "ann")
    assert "deploy of 2.1 at 2026-01-31 12:00 UTC" in told(config, *deploy).output
    assert told(config, "change", "shop", "scale", "--summary", "two replicas more").exit_code == 0
    first, second = said(config)
    assert isinstance(first, ChangeEvent)
    assert isinstance(second, ChangeEvent)
    assert (first.service, first.change, first.version, first.previous_version, first.by) == (
        "shop",
        "deploy",
        "2.1",
        "2.0",
        "ann",
    )
    assert (second.change, second.summary) == ("scale", "two replicas more")


@pytest.mark.kafka
def test_maintenance_can_be_ended_early(config: Path) -> None:
    """The answer says with which command; it puts a window of no length in the place of the first."""
    answer = told(config, "maintenance", "shop", "cart", "--for", "2h", "--reason", "load test").output
    command = " ".join(answer.split()).partition("duri announce ")[2].split()
    assert told(config, *command).exit_code == 0
    opened, ended = said(config)
    assert isinstance(opened, MaintenanceWindow)
    assert isinstance(ended, MaintenanceWindow)
    assert (opened.services, opened.reason, opened.end - opened.start) == (
        ["shop", "cart"],
        "load test",
        timedelta(hours=2),
    )
    assert (ended.id, ended.services, ended.end - ended.start) == (opened.id, ["shop", "cart"], timedelta(0))


@pytest.mark.kafka
def test_mute(config: Path) -> None:
    """A derived signal as it is; another name may be a raw series', and may be a slip: both is said."""
    assert "derived" not in told(config, "mute", "http.latency.p95", "--service", "shop", "--for", "7d").output
    assert "did you mean http.latency.p95" in told(config, "mute", "http.latncy.p95", "--for", "1h").output
    first, second = said(config)
    assert isinstance(first, Muting)
    assert isinstance(second, Muting)
    assert (first.service, first.signals, first.until - first.at) == ("shop", ["http.latency.p95"], timedelta(days=7))
    assert second.service == ""


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("deploy", "shop"), "--version"),
        (("change", "shop", "party"), "party"),
        (("maintenance", "--for", "soon"), "'soon' is no duration"),
        (("maintenance", "--for", "1h", "--start", "later"), "'later' is no time"),
        (("maintenance", "--for", "0s"), "--id"),
        (("maintenance", "--for", "9999999w"), "beyond the year 9999"),
        (("mute", "--for", "1h"), "signals"),
    ],
)
def test_mistakes_are_named(arguments: tuple[str, ...], named: str) -> None:
    """Before anything is sent, with exit status 2."""
    result = CliRunner().invoke(announce, list(arguments))
    assert result.exit_code == 2
    assert named in result.output
