from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
from typing import TYPE_CHECKING

import pytest
import typer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import TopicAuthorizationFailedError, TransactionalIdAuthorizationFailed
from typer.testing import CliRunner

from pipeline.cli.doctor import doctor
from pipeline.runtime import diagnosis, permissions
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.diagnosis import Verdict, diagnose
from pipeline.runtime.permissions import Probe, Refusal, try_writing
from pipeline.runtime.topology import create_topics, plan_topics
from pipeline.settings import Settings, load_settings
from pipeline.stage import Topic
from tests.committed import committed

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

APP = typer.Typer()
APP.command()(doctor)

FILES = ("settings", "signals", "thresholds", "catalogue", "topology")
BROKER = ("broker", "transactions", "topics", "write", "read", "clock")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(APP, list(arguments), env={"COLUMNS": "200"})


def checks(*arguments: str) -> dict[str, dict[str, str]]:
    return {one["check"]: one for one in json.loads(call("--json", *arguments).output)["checks"]}


@pytest.fixture
def closed_port(monkeypatch) -> str:
    """Address at which nobody listens, and little patience."""
    monkeypatch.setattr(diagnosis, "_WAIT_S", 0.1)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{one.getsockname()[1]}"


@pytest.fixture
def config(kafka, topic_prefix, tmp_path) -> Path:
    """Settings file with topics of its own, not created."""
    path = tmp_path / "duri.yaml"
    path.write_text(
        f"kafka: {{bootstrap: '{kafka}'}}\ntopics: {{prefix: '{topic_prefix}'}}\n"
        f"runtime: {{group: '{topic_prefix}group'}}\n"
    )
    return path


def create(config: Path) -> Settings:
    settings = load_settings(config)

    async def run() -> None:
        async with ClusterAdmin(settings.kafka) as admin:
            await create_topics(admin, settings)
            names = {topic.name for topic in plan_topics(settings)}
            while not names <= (await admin.topics()).keys():  # noqa: ASYNC110  Kafka sends no event
                await asyncio.sleep(0.05)

    asyncio.run(run())
    return settings


# --- without a broker -----------------------------------------------------------------------------------------


def test_a_long_path_is_shown_to_its_end(closed_port: str, tmp_path: Path) -> None:
    """It may have to be opened; and what to do is said once."""
    path = tmp_path / ("x" * 60) / "duri.yaml"
    path.parent.mkdir()
    path.write_text("")
    shown = CliRunner().invoke(APP, ["--config", str(path), "--bootstrap", closed_port], env={"COLUMNS": "80"}).output
    assert "…" not in shown
    assert shown.count("duri broker") == 1
    cells = [line.split("│")[3].strip() for line in shown.splitlines() if line.startswith("│")]
    assert str(path) in "".join(cells)


def test_wrong_settings_stop_everything_else(tmp_path):
    """A wrong key is found first, with file, line and key; nothing is guessed from what cannot be read."""
    path = tmp_path / "duri.yaml"
    path.write_text("detect:\n  frame_seconds: 60\n")
    result = call("--config", str(path))
    assert result.exit_code == 1
    assert f"{path}:2" in result.output.replace("\n", "")
    found = checks("--config", str(path))
    assert found.pop("settings")["verdict"] == Verdict.FAILED
    assert {one["verdict"] for one in found.values()} == {Verdict.SKIPPED}
    assert list(found) == [*FILES[1:], *BROKER]


def test_nobody_answers(closed_port):
    """Without a broker the files are still checked, and the table says how to get one."""
    found = checks("--bootstrap", closed_port)
    assert {found[name]["verdict"] for name in FILES} == {Verdict.OK}
    assert found["broker"]["verdict"] == Verdict.FAILED
    assert "duri broker" in found["broker"]["remedy"]
    assert {found[name]["verdict"] for name in BROKER[1:]} == {Verdict.SKIPPED}


@pytest.mark.parametrize(
    ("file", "text", "check"),
    [
        ("signals.yaml", "signals: 3\n", "signals"),
        ("thresholds.yaml", "rules: 3\n", "thresholds"),
        ("topology.yaml", "services: {a: {cals: [b]}}\n", "topology"),
        ("catalogue/wrong.yaml", "rules: 3\n", "catalogue"),
    ],
)
def test_wrong_configuration_file(tmp_path, closed_port, file, text, check):
    """Each configuration file is read as a worker reads it; the finding names the file."""
    settings = load_settings()
    folder = tmp_path / "config"
    for source in settings.config_dir.rglob("*.yaml"):
        target = folder / source.relative_to(settings.config_dir)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    (folder / file).write_text(text)
    path = tmp_path / "duri.yaml"
    path.write_text(f"config_dir: {folder}\n")
    found = checks("--config", str(path), "--bootstrap", closed_port)
    assert found[check]["verdict"] == Verdict.FAILED
    assert str(folder / file) in found[check]["detail"]
    assert found["settings"]["verdict"] == Verdict.OK


def test_unreadable_secret(tmp_path):
    """A password file that is not there is a setting to correct, not a broker to start."""
    path = tmp_path / "duri.yaml"
    path.write_text(
        "kafka: {security_protocol: SASL_PLAINTEXT, sasl_username: a, sasl_password_file: /nowhere/password}\n"
    )
    found = checks("--config", str(path))["broker"]
    assert "sasl_password_file" in found["detail"]
    assert "setting" in found["remedy"]


@pytest.mark.parametrize(("guarantee", "verdict"), [("exactly_once", Verdict.FAILED), ("at_least_once", Verdict.OK)])
def test_broker_without_transactions(guarantee, verdict):
    """Lacking transactions matter only where exactly once is asked for."""
    settings = load_settings(overrides={"runtime.guarantee": guarantee})
    finding = diagnosis._transactions(settings, {0: (0, 9), 1: (0, 11)})
    assert finding.verdict is verdict
    assert "InitProducerId" in finding.detail


@pytest.mark.parametrize(
    ("ahead_s", "verdict", "words"),
    [
        (0.2, Verdict.OK, "0.20 s ahead"),
        (-4.9, Verdict.OK, "4.90 s behind"),
        (5.1, Verdict.WARNING, "ahead"),
        (-3600.0, Verdict.WARNING, "3600.00 s behind"),
        (None, Verdict.WARNING, "does not stamp"),
    ],
)
def test_clock(ahead_s, verdict, words):
    """More than five seconds either way is a warning."""
    finding = diagnosis._clock(Probe(0.1, ahead_s))
    assert finding.verdict is verdict
    assert words in finding.detail


@pytest.mark.parametrize(
    ("error", "right"),
    [
        (TopicAuthorizationFailedError("t"), "on the topics"),
        (TransactionalIdAuthorizationFailed(), "transactional ids"),
        (OSError("gone"), "broker's log"),
    ],
)
def test_refusal_says_what_to_grant(error, right):
    """Each refusal of the broker names the right that is missing."""
    assert right in permissions._refusal("writing", error).remedy


# --- on Kafka -------------------------------------------------------------------------------------------------


def test_all_is_well(config):
    """With a broker and its topics everything is checked, and the exit status is 0."""
    create(config)
    result = call("--config", str(config))
    assert result.exit_code == 0, result.output
    assert result.output.count("✔") == len(FILES) + len(BROKER)
    assert "✘" not in result.output
    found = checks("--config", str(config))
    assert {one["verdict"] for one in found.values()} == {Verdict.OK}
    assert "Fetch up to v" in found["broker"]["detail"]


def test_missing_topics(config):
    """Topics that are not there are named, with the command that makes them; what needs them is skipped."""
    found = checks("--config", str(config))
    assert found["topics"]["verdict"] == Verdict.FAILED
    assert found["topics"]["remedy"] == "duri topics create"
    assert {found[name]["verdict"] for name in ("write", "read", "clock")} == {Verdict.SKIPPED}
    assert call("--config", str(config)).exit_code == 1


def test_missing_extra_input(config):
    """Other people's topics are not ours to create: the setting is named."""
    create(config)
    config.write_text(config.read_text().replace("prefix:", "extra_inputs: {telegraf-xyz: auto}, prefix:"))
    finding = checks("--config", str(config))["topics"]
    assert finding["detail"] == "missing: telegraf-xyz"
    assert "extra_inputs" in finding["remedy"]


def test_wrong_number_of_partitions(config):
    """A topic with other partitions than set would be read wrongly: both numbers are shown."""
    settings = create(config)
    name = settings.topics.name(Topic.SAMPLES)

    async def widen() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap)
        await admin.start()
        await admin.create_partitions({name: NewPartitions(total_count=6)})
        async with asyncio.timeout(30):  # brokers hear of it a moment later
            while len((await admin.describe_topics([name]))[0]["partitions"]) < 6:  # noqa: ASYNC110  nothing tells
                await asyncio.sleep(0.05)
        await admin.close()

    asyncio.run(widen())
    finding = checks("--config", str(config))["topics"]
    assert finding["verdict"] == Verdict.FAILED
    assert f"{name} has 6 partitions, the settings say 4" in finding["detail"]


def test_probe_leaves_nothing_to_read(config):
    """Readers of committed records never see what the doctor wrote."""
    settings = create(config)

    async def read() -> tuple[object, list[object]]:
        probe = await try_writing(settings)
        return probe, [one for topic in (Topic.STATE, Topic.DEADLETTER) for one in await committed(settings, topic)]

    probe, found = asyncio.run(read())
    assert isinstance(probe, Probe)
    assert probe.ahead_s is not None
    assert abs(probe.ahead_s) < 2
    assert found == []


def test_at_least_once_writes_nothing(config):
    """Where no transaction can be aborted, nothing is written."""
    create(config)
    config.write_text(config.read_text().replace("group:", "guarantee: at_least_once, group:"))
    found = checks("--config", str(config))
    assert "not tried" in found["write"]["detail"]
    assert {one["verdict"] for one in found.values()} == {Verdict.OK}


def test_refused_write_skips_the_clock(config, monkeypatch):
    """What the broker refuses is a failure with its remedy; what rests on it is skipped."""
    create(config)

    async def refuse(settings: Settings) -> Refusal:
        assert settings
        return Refusal("a transaction fails: no", "grant it")

    monkeypatch.setattr(diagnosis, "try_writing", refuse)
    found = {one.check: dataclasses.asdict(one) for one in asyncio.run(diagnose(config, {}))}
    assert (found["write"]["verdict"], found["write"]["remedy"]) == (Verdict.FAILED, "grant it")
    assert found["clock"]["verdict"] == Verdict.SKIPPED
    assert found["read"]["verdict"] == Verdict.OK
