"""The whole flow on real Kafka, driven as people drive it: the commands, somebody's producer, any consumer."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from pipeline.records import Anomaly, ChangeEvent, Recommendation, cloudevent_headers, to_ms
from pipeline.sources.columnar import encode_columnar
from pipeline.sources.duri_system import DuriSystem, Plan
from tests.builders import START
from tests.installation import DEADLINE_S, Installation

CLOUD = Path(__file__).parent / "data" / "cloud"
NAB = Path(__file__).parents[2] / "shared" / "data" / "nab" / "data" / "realAWSCloudwatch"


@pytest.fixture
def installation(kafka: str, topic_prefix: str) -> Installation:
    return Installation(kafka, topic_prefix).with_topics()


def services(records: list[dict[str, Any]]) -> set[str]:
    return {record["service"] for record in records}


def replay_and_flag(installation: Installation, files: list[Path]) -> list[Anomaly]:
    """Replay recorded series through the running pipeline until the learners have flagged each."""
    with installation.running():
        replayed = installation.command("replay", *map(str, files))
        assert replayed.returncode == 0, replayed.stderr
        learned = installation.read(
            "anomalies",
            lambda found: {one["service"] for one in found if one["signal"] != "samples"} >= {f.stem for f in files},
        )
    return [Anomaly.model_validate(record) for record in learned]


@pytest.fixture
def long_frames(kafka: str, topic_prefix: str) -> Installation:
    """With frames of ten minutes: months of hourly samples are not cut into a hundred thousand one-minute frames."""
    return Installation(kafka, topic_prefix, DURI_DETECT__FRAME_S="600").with_topics()


def test_real_cloud_series_are_flagged(long_frames: Installation) -> None:
    """Real labelled series, replayed through Kafka, are flagged by the learners; each record explains itself."""
    anomalies = replay_and_flag(long_frames, sorted(CLOUD.glob("*.csv")))
    learned = [one for one in anomalies if one.signal != "samples"]
    assert all(one.detectors[0].detector == "learned" for one in learned)
    assert all(one.observed is not None and one.expected is not None for one in learned)
    assert all(one.provenance.topic == long_frames.prefix + "samples" for one in learned)


@pytest.mark.slow
@pytest.mark.skipif(not NAB.is_dir(), reason="THE SHARED NAB DATA IS NOT HERE, SO REAL AWS SERIES ARE NOT REPLAYED")
def test_real_aws_series_are_flagged(long_frames: Installation) -> None:
    """`duri replay` of real AWS series: the running pipeline flags those with a known incident."""
    names = ("ec2_cpu_utilization_5f5533", "ec2_network_in_257a54", "rds_cpu_utilization_e47b3b", "grok_asg_anomaly")
    anomalies = replay_and_flag(long_frames, [NAB / f"{name}.csv" for name in names])
    assert {one.service for one in anomalies} >= set(names)


def memory_samples(service: str, seconds: int, jumps_at: int) -> list[bytes]:
    """One JSON sample a message: memory of a container each second, from a moment on at 97 % of its limit."""
    limit = 1 << 30
    readings = (
        (second, name, value)
        for second in range(seconds)
        for name, value in (
            ("container_memory_usage_bytes", limit * (0.97 if second >= jumps_at else 0.5)),
            ("container_spec_memory_limit_bytes", limit),
        )
    )
    return [
        json.dumps({"name": name, "labels": {"service": service}, "ts": START + second * 1000, "value": value}).encode()
        for second, name, value in readings
    ]


def test_single_json_samples_become_a_recommendation(kafka: str, topic_prefix: str) -> None:
    """Samples as the README shows them, one a message, of a container that nearly fills its memory end in advice."""
    fast = Installation(kafka, topic_prefix, DURI_DETECT__FRAME_S="1", DURI_DETECT__LATENESS_S="0.2").with_topics()
    with fast.running():
        fast.publish([("metrics", value, []) for value in memory_samples("shop", seconds=60, jumps_at=30)])
        found = fast.read("recommendations", bool)
    first = Recommendation.model_validate(found[0])
    assert (first.kind, first.target.service, first.state) == ("container.memory_limit", "shop", "proposed")
    assert first.created.timestamp() >= START / 1000 + 30


def test_columnar_json_and_a_deploy_become_recommendations(installation: Installation) -> None:
    """Two days of a generated system as JSON columns and a deploy on duri.control end in the right advice."""
    system = DuriSystem(Plan())
    messages: list[tuple[str, bytes, list[tuple[str, bytes]]]] = []
    changes = system.changes()
    for block in system.blocks(600.0):
        while changes and to_ms(changes[0].at) <= int(block.ts[-1]):
            event: ChangeEvent = changes.pop(0)
            headers = cloudevent_headers(event.event_type(), "/deployer", event.id, to_ms(event.at))
            messages.append(("control", event.model_dump_json().encode(), headers))
        messages.append(("metrics", encode_columnar(block), []))
    with installation.running():
        installation.publish(messages)
        kinds = {"redis.maxmemory", "app.pool_size"}
        found = installation.read("recommendations", lambda records: {one["kind"] for one in records} >= kinds)
    advice = [Recommendation.model_validate(record) for record in found]
    first = next(one for one in advice if one.kind == "redis.maxmemory")
    assert first.target.service == "duri_brain"
    assert first.state == "proposed"
    assert first.undo
    assert first.how.commands
    assert first.why.evidence


def test_bad_messages_are_dead_letters_and_do_not_stop_the_flow(installation: Installation) -> None:
    """Rubbish between good samples ends in the dead letters with its place; the good samples pass."""
    now = int(time.time() * 1000)
    good = [
        json.dumps({"name": "up", "labels": {"service": "a"}, "ts": now + i, "value": i}).encode() for i in range(3)
    ]
    bad = [b"", b"{not json", b"\x00\xff rubbish", json.dumps({"name": "up", "ts": "never", "value": 1}).encode()]
    with installation.running("ingest"):
        installation.publish([("metrics", value, []) for value in (good[0], *bad[:2], good[1], *bad[2:], good[2])])
        letters = asyncio.run(_raw(installation, "deadletter", 4))
        samples = asyncio.run(_raw(installation, "samples", 1))
    assert [letter.value for letter in letters] == bad
    assert [dict(letter.headers)["duri.error.offset"] for letter in letters] == [b"1", b"2", b"4", b"5"]
    assert samples
    listed = installation.command("deadletter", "list", "--json")
    assert listed.returncode == 0, listed.stderr


async def _raw(installation: Installation, topic: str, count: int) -> list[Any]:
    async with AIOKafkaConsumer(
        installation.prefix + topic, bootstrap_servers=installation.bootstrap, auto_offset_reset="earliest",
        isolation_level="read_committed",
    ) as consumer:  # fmt: skip
        found: list[Any] = []
        ends = time.monotonic() + DEADLINE_S
        while len(found) < count:
            assert time.monotonic() < ends, f"{topic}: {len(found)} of {count} records"
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += records
        return found
