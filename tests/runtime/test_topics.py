"""Topics as the flow needs them, by command."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.cli.topics import topics
from pipeline.errors import BrokerUnavailableError, DuriError, SettingsError
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.outputs import Router, TopicFacts
from pipeline.runtime.stages import build_specs
from pipeline.runtime.topology import check_topics, create_topics, plan_topics
from pipeline.settings import Settings, load_settings
from pipeline.stage import Output, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path, topic_prefix: str) -> Path:
    file = tmp_path / "duri.yaml"
    file.write_text(f"topics:\n  prefix: {topic_prefix}\n  samples_partitions: 3\n")
    return file


def duri(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(topics, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_topics_are_created_once_and_described(kafka: str, config: Path) -> None:
    """A second time changes nothing; what differs from the settings is told."""
    options = ("--bootstrap", kafka, "--config", str(config), "--json")
    status, before = duri("describe", *options)
    assert status == 1
    assert not any(topic["exists"] for topic in json.loads(before))
    created = json.loads(duri("create", *options)[1])
    assert all(topic["created"] and not topic["differences"] for topic in created)
    assert {topic["role"]: topic["partitions"] for topic in created} == {
        **dict.fromkeys((role.value for role in Topic), 1),
        "metrics": 4,
        "samples": 3,
        "state": 3,
    }
    config.write_text(config.read_text().replace("samples_partitions: 3", "samples_partitions: 5"))
    again = {topic["role"]: topic for topic in json.loads(duri("create", *options)[1])}
    assert not any(topic["created"] for topic in again.values())
    assert again["samples"]["differences"] == {"partitions": {"wanted": "5", "found": "3"}}
    status, text = duri("describe", "--bootstrap", kafka, "--config", str(config))
    assert status == 0
    assert "compacted" in text
    assert "partitions is 3, not 5" in " ".join(text.split())


def test_state_is_compacted_and_the_rest_is_kept_for_its_time() -> None:
    """Retention as set for the flow, a quarter for what people come back to; event time may be any."""
    planned = {topic.role: topic.configs for topic in plan_topics(Settings())}
    assert planned[Topic.STATE]["cleanup.policy"] == "compact"
    assert planned[Topic.SAMPLES]["retention.ms"] == str(72 * 3_600_000)
    assert planned[Topic.RECOMMENDATIONS]["retention.ms"] == str(90 * 24 * 3_600_000)
    assert all(
        configs["message.timestamp.type"] == "LogAppendTime" for role, configs in planned.items() if role != Topic.STATE
    )


def test_without_a_broker_the_command_says_where_it_looked(config: Path) -> None:
    """And what to do."""
    with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1:1 .*duri broker"):
        duri("create", "--bootstrap", "127.0.0.1:1", "--config", str(config))


SAMPLES = TopicFacts("samples", 12, 1_000_000, {})
ROUTER = Router({Topic.SAMPLES: "samples"}, {"samples": SAMPLES}, TopicPartition("metrics", 14))


@given(st.binary(min_size=1, max_size=40))
def test_keys_go_where_every_kafka_client_sends_them(key: bytes) -> None:
    """The default partitioner's choice, so that a key's records share a partition whoever writes them."""
    partitions = list(range(SAMPLES.partitions))
    write = ROUTER.route(Output(Topic.SAMPLES, b"", 0, key))
    assert write.target == TopicPartition("samples", DefaultPartitioner()(key, partitions, partitions))


def test_outputs_without_a_key_stay_in_their_lane() -> None:
    """The input's partition number decides; an explicit one wins."""
    assert ROUTER.route(Output(Topic.SAMPLES, b"", 0)).target.partition == 14 % 12
    assert ROUTER.route(Output(Topic.SAMPLES, b"", 0, b"key", partition=7)).target.partition == 7


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (Output(Topic.SAMPLES, b"", 0, partition=12), "partition 12 of samples, which has 12"),
        (Output(Topic.OUTCOMES, b"", 0), "writes to outcomes"),
    ],
)
def test_outputs_to_nowhere_are_errors(output: Output, message: str) -> None:
    """A stage that addresses what does not exist is told so."""
    with pytest.raises(DuriError, match=message):
        ROUTER.route(output)


@pytest.mark.parametrize("role", [Topic.METRICS, Topic.SAMPLES, Topic.FRAMES])
def test_wrong_partition_counts_are_told_at_the_start(role: Topic) -> None:
    """Detect waits for every partition of the input, and stages write by partition: all must be as set."""
    settings = Settings()
    facts = {
        topic.name: TopicFacts(topic.name, topic.partitions + (topic.role is role), 10_000_000, {})
        for topic in plan_topics(settings)
    }

    class Cluster:
        async def facts(self, names: Iterable[str]) -> dict[str, TopicFacts]:
            return {name: facts[name] for name in names}

    with pytest.raises(SettingsError, match=f"topics.{role}_partitions is .* but duri.{role} has"):
        asyncio.run(check_topics(cast("ClusterAdmin", Cluster()), settings, build_specs(settings, ["detect"])))


BUSY = """
import sys, time
from pipeline.cli.run import leave
from pipeline.errors import SettingsError
from pipeline.runtime.worker import _thread_pool

with _thread_pool() as pool:
    pool.submit(time.sleep, float(sys.argv[1]))
    time.sleep(0.2)
print("stopped")
leave(SettingsError("no") if sys.argv[2] == "failed" else None)
print("ended by itself")
"""


@pytest.mark.parametrize("outcome", ["well", "failed"])
def test_a_step_that_does_not_end_does_not_outlive_the_worker(outcome: str) -> None:
    """The process leaves without waiting for it, with its status, and what it said is there."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", BUSY, "60", outcome], capture_output=True, text=True, timeout=30, check=False
    )
    assert time.monotonic() - began < 20
    assert done.stdout.startswith("stopped\n")
    assert "ended by itself" not in done.stdout
    assert (done.returncode != 0, "duri: no" in done.stderr) == ((outcome == "failed",) * 2)


def test_a_worker_whose_steps_have_ended_leaves_by_itself() -> None:
    """Nothing is cut off where nothing is in hand."""
    done = subprocess.run(
        [sys.executable, "-c", BUSY, "0", "well"], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "stopped\nended by itself\n"


def test_topics_that_were_created_are_there(kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker hears of new topics a moment after they were created: creating them waits for it."""
    settings = load_settings(overrides={"kafka.bootstrap": kafka, "topics.prefix": topic_prefix})
    topics, asked = ClusterAdmin.topics, 0

    async def late(self: ClusterAdmin) -> dict[str, int]:
        nonlocal asked
        asked += 1
        return await topics(self) if asked > 2 else {}

    async def story() -> dict[str, TopicFacts]:
        async with ClusterAdmin(settings.kafka) as admin:
            monkeypatch.setattr(ClusterAdmin, "topics", late)
            await create_topics(admin, settings)
            return await check_topics(admin, settings, build_specs(settings))

    assert asyncio.run(story())


def test_topics_that_never_come_are_an_error(kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait has an end, and says which topics are missing."""
    settings = load_settings(overrides={"kafka.bootstrap": kafka, "topics.prefix": topic_prefix})

    async def never(_: ClusterAdmin) -> dict[str, int]:
        return {}

    async def story() -> None:
        async with ClusterAdmin(settings.kafka, wait_s=0.2) as admin:
            monkeypatch.setattr(ClusterAdmin, "topics", never)
            await create_topics(admin, settings)

    with pytest.raises(BrokerUnavailableError, match="knows nothing of them yet"):
        asyncio.run(story())
