"""A lab that `duri lab up` keeps: its samples come to Kafka, and `duri lab turn` turns its knobs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, NamedTuple

import pytest
import redis
from aiokafka import AIOKafkaConsumer

from pipeline.settings import load_settings
from pipeline.stage import Topic
from tests.installation import DEADLINE_S, Installation, duri

if TYPE_CHECKING:
    from collections.abc import Iterator


class Standing(NamedTuple):
    """A lab that runs, and the installation whose broker it publishes on."""

    installation: Installation
    addresses: dict[str, str]

    def turn(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return duri("lab", "turn", "--lab", self.addresses["folder"], *arguments)


@pytest.fixture(scope="module")
def standing(backends: None, kafka: str) -> Iterator[Standing]:
    """One lab for this file, by Kafka."""
    del backends
    installation = Installation(kafka, f"lab-up-{uuid.uuid4().hex[:8]}-").with_topics()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "lab", "up", "--kafka", "--speed", "10", "--scenario", "normal"],
        env=installation.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(10)]
        addresses = {name: place for name, _, place in (line.strip().partition(" ") for line in lines)}
        yield Standing(installation, {name: place.strip() for name, place in addresses.items()})
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE_S)


def test_a_recommendations_kind_of_command_turns_the_knob(standing: Standing) -> None:
    """What was run and what differs since is told, and it is so in Redis."""
    turned = standing.turn("--command", "redis-cli: redis-cli CONFIG SET maxmemory 32mb")
    assert turned.returncode == 0, turned.stderr
    assert "redis maxmemory: 67108864 → 33554432" in turned.stdout
    with redis.Redis.from_url(standing.addresses["redis"]) as client:
        assert client.config_get("maxmemory") == {"maxmemory": "33554432"}


def test_a_knob_of_a_service_is_turned_and_turned_back(standing: Standing) -> None:
    for size, told in (("3", "10 → 3"), ("10", "3 → 10")):
        turned = standing.turn("--service", "duri_brain", "--command", f"env: DB_POOL_SIZE={size}")
        assert f"duri_brain DB_POOL_SIZE: {told}" in turned.stdout


def test_what_only_looks_is_left_to_people(standing: Standing) -> None:
    turned = standing.turn("--command", "sql: SELECT 1")
    assert (turned.returncode, turned.stdout) == (1, "left:     SELECT 1\n")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("sql: ALTER SYSTEM SET nonsense = 1", "unrecognized configuration parameter"),
        ("redis-cli: redis-cli CONFIG SET nonsense 1", "nonsense"),
    ],
)
def test_what_a_server_refuses_is_told_and_the_lab_stands(standing: Standing, command: str, said: str) -> None:
    turned = standing.turn("--command", command)
    assert turned.returncode == 1
    assert said in turned.stderr
    assert standing.turn("--command", "sql: SELECT 1").stdout


def test_a_recommendation_that_nobody_made_is_not_applied(standing: Standing) -> None:
    turned = standing.turn("abc")
    assert "this lab got: none so far" in turned.stderr


def test_its_samples_come_to_the_broker(standing: Standing) -> None:
    """Of the services and of what the exporters of PostgreSQL, Redis and the machine would say."""
    wanted = {"http_requests_total", "pg_stat_activity_count", "redis_memory_used_bytes", "node_memory_MemTotal_bytes"}

    async def read() -> None:
        topics = load_settings(overrides={"topics.prefix": standing.installation.prefix}).topics
        consumer = AIOKafkaConsumer(
            topics.name(Topic.METRICS), bootstrap_servers=standing.installation.bootstrap, auto_offset_reset="earliest"
        )
        async with asyncio.timeout(DEADLINE_S), consumer:
            async for message in consumer:
                for name in list(wanted):
                    if f'"{name}"'.encode() in message.value:
                        wanted.remove(name)
                if not wanted:
                    return

    asyncio.run(read())
