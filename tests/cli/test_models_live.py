"""`duri models` with a broker: what the workers refuse, and what the shadow tells the gate."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer

from pipeline.records import Anomaly, RetrainingDue, ShadowTally, cloudevent_headers, from_ms
from pipeline.registry.pointers import PointerLog
from pipeline.registry.store import Store
from pipeline.runtime.bounded import read_all
from pipeline.runtime.drained import drained
from pipeline.runtime.stages import build_specs
from pipeline.runtime.worker import run_worker
from pipeline.settings import Settings, load_settings
from pipeline.stage import Topic
from tests.builders import START
from tests.detect.test_ranking import NAME as RANKER
from tests.detect.test_ranking import ranker
from tests.installation import duri
from tests.offline.flows import metrics, troubled_system
from tests.registry.trained import detector
from tests.runtime.test_real_stages import publish as publish_metrics
from tests.runtime.toys import FAST, make_topics

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.kafka
NAME = "services"
DAY_MS = 86_400_000


@pytest.fixture
def config(kafka: str, topic_prefix: str, tmp_path: Path) -> Path:
    """A settings file with topics of its own, which exist."""
    path = tmp_path / "duri.yaml"
    sections = {
        "kafka": {"bootstrap": kafka},
        "topics": {"prefix": topic_prefix, "metrics_partitions": 1, "samples_partitions": 2},
        "runtime": {"group": topic_prefix, "http_port": 0},
        "models": {"registry": str(tmp_path / "registry")},
    }
    path.write_text(json.dumps(sections), encoding="utf-8")
    asyncio.run(make_topics(load_settings(path)))
    return path


def models(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return duri("models", *words, "--config", config)


@contextlib.asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[None]:
    """Ingest and detect in this event loop."""
    stop = asyncio.Event()
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    specs = build_specs(settings, ["ingest", "detect"])
    worker = asyncio.create_task(run_worker(settings, specs, stop, on_ready=ready.set_result, timing=FAST))
    try:
        await ready
        yield
    finally:
        stop.set()
        await worker


def test_what_the_workers_refuse_is_undone(config: Path) -> None:
    """A model within the command's budget and over theirs: exit status 1, why, and the pointers as before."""
    settings = load_settings(config)
    store = Store(settings.models.registry)
    version = store.add(*detector())
    strict = settings.model_copy(update={"models": settings.models.model_copy(update={"budget_ms": 0.001})})

    async def refused() -> subprocess.CompletedProcess[str]:
        async with working(strict):
            return await asyncio.to_thread(models, config, "promote", NAME, version, "--force", "--why", "test")

    done = asyncio.run(refused())
    assert done.returncode == 1
    assert "move 1 is undone, the workers refuse it" in done.stderr
    assert "models.budget_ms allows 0.001" in done.stderr
    moves = PointerLog(store, NAME).moves()
    assert [move.action for move in moves] == ["promote", "refuse"]
    assert moves[-1].pointers.live is None
    assert "models.budget_ms" in moves[-1].why


def test_what_nobody_answers_for_is_checked_by_the_command(config: Path) -> None:
    """No worker runs: a model over the budget is refused all the same, and its move undone."""
    sections = json.loads(config.read_text(encoding="utf-8"))
    sections["models"]["budget_ms"] = 0.001
    config.write_text(json.dumps(sections), encoding="utf-8")
    store = Store(sections["models"]["registry"])
    version = store.add(*detector())
    done = models(config, "shadow", NAME, version, "--wait", "0")
    assert done.returncode == 1
    assert "models.budget_ms allows 0.001" in done.stderr
    assert [move.action for move in PointerLog(store, NAME).moves()] == ["shadow", "refuse"]


def tally(version: str, partition: int, hours: float, **counts: Any) -> ShadowTally:
    zero = {"both": 0, "only_shadow": 0, "only_live": 0, "neither": 0, "live_episodes": 0, "live_lone": 0}
    return ShadowTally(
        id=f"{version}{partition}{hours}",
        at=from_ms(START + DAY_MS),
        model=NAME,
        shadow=version,
        partition=partition,
        since=from_ms(START),
        hours=hours,
        service_days=hours / 24 * 10,
        **{**zero, "shadow_episodes": 2, "shadow_lone": 1, **counts},
    )


async def publish(settings: Settings, said: list[ShadowTally | RetrainingDue]) -> None:
    topic = settings.topics.name(Topic.CONTROL)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        for one in said:
            headers = cloudevent_headers(one.event_type(), "/detect/0", one.id, START)
            await producer.send_and_wait(topic, one.model_dump_json().encode(), headers=headers)


def test_the_gate_reads_what_the_shadow_did(config: Path) -> None:
    """Too short a time is refused; a day of it with few lone alarms is promoted, without --force."""
    settings = load_settings(config)
    version = Store(settings.models.registry).add(*detector())
    assert models(config, "shadow", NAME, version, "--wait", "0").returncode == 0
    asyncio.run(publish(settings, [tally(version, 0, 23.0), tally(version, 1, 5.0)]))
    refused = models(config, "promote", NAME, version, "--wait", "0")
    assert refused.returncode == 1
    assert "23 h in the shadow, 24 h are wanted" in refused.stderr
    asyncio.run(publish(settings, [tally(version, 0, 24.0, both=3, only_shadow=1)]))
    told = json.loads(models(config, "shadow", NAME, "--json").stdout)
    assert told["gate"] == []
    assert (told["report"]["hours"], told["report"]["agreement"]) == (24.0, 0.75)
    assert "alarms" in models(config, "shadow", NAME).stdout
    done = models(config, "promote", NAME, version, "--wait", "0")
    assert done.returncode == 0, done.stderr
    assert "no worker has answered yet" in done.stdout


def test_a_version_in_the_shadow_again_begins_anew(config: Path) -> None:
    """What it did before it was withdrawn does not count."""
    settings = load_settings(config)
    version = Store(settings.models.registry).add(*detector())
    assert models(config, "shadow", NAME, version, "--wait", "0").returncode == 0
    asyncio.run(publish(settings, [tally(version, 0, 30.0)]))
    assert models(config, "withdraw", NAME, "--wait", "0").returncode == 0
    assert models(config, "shadow", NAME, version, "--wait", "0").returncode == 0
    assert json.loads(models(config, "shadow", NAME, "--json").stdout)["report"] is None


def test_a_version_beside_another_live_one_begins_anew(config: Path) -> None:
    """What it did beside the live version before does not count, also where a partition tells of that once more."""
    settings = load_settings(config)
    store = Store(settings.models.registry)
    first, second, version = (store.add(*detector(seed)) for seed in (1, 2, 3))
    for live in (first, second):
        assert models(config, "promote", NAME, live, "--wait", "0", "--force", "--why", "test").returncode == 0
    assert models(config, "shadow", NAME, version, "--wait", "0").returncode == 0
    old = tally(version, 0, 30.0, live=second)
    asyncio.run(publish(settings, [old]))
    assert json.loads(models(config, "shadow", NAME, "--json").stdout)["report"]["hours"] == 30.0
    assert models(config, "revert", NAME, "--wait", "0").returncode == 0
    asyncio.run(publish(settings, [old]))
    assert json.loads(models(config, "shadow", NAME, "--json").stdout)["report"] is None
    asyncio.run(publish(settings, [tally(version, 0, 2.0, live=first)]))
    assert json.loads(models(config, "shadow", NAME, "--json").stdout)["report"]["hours"] == 2.0


def test_a_promotion_that_workers_learned_of_when_they_started_counts(config: Path) -> None:
    """Made without a broker, it is in no record: what the shadow did beside that version is known all the same."""
    settings = load_settings(config)
    store = Store(settings.models.registry)
    live, version = (store.add(*detector(seed)) for seed in (1, 2))
    done = models(config, "promote", NAME, live, "--registry-only", "--force", "--why", "test")
    assert done.returncode == 0, done.stderr
    assert models(config, "shadow", NAME, version, "--registry-only").returncode == 0
    asyncio.run(publish(settings, [tally(version, 0, 25.0, live=live)]))
    assert json.loads(models(config, "shadow", NAME, "--json").stdout)["report"]["hours"] == 25.0


def test_silence_in_the_shadow_is_no_agreement(config: Path) -> None:
    """A day without a word where others spoke, or without a score where the live one scored: refused, and why."""
    settings = load_settings(config)
    version = Store(settings.models.registry).add(*detector())
    assert models(config, "shadow", NAME, version, "--wait", "0").returncode == 0
    silent = {"shadow_episodes": 0, "shadow_lone": 0, "neither": 100, "unscored": 20}
    asyncio.run(publish(settings, [tally(version, 0, 30.0, **silent, other_episodes=3)]))
    refused = models(config, "promote", NAME, version, "--wait", "0")
    assert refused.returncode == 1
    assert "silent in the shadow while other detectors raised 3 alarms" in " ".join(refused.stderr.split())
    assert "no score to 17% of what the live version scored" in " ".join(refused.stderr.split())
    asyncio.run(publish(settings, [tally(version, 0, 31.0, **{**silent, "unscored": 0}, other_episodes=2)]))
    assert models(config, "promote", NAME, version, "--wait", "0").returncode == 0


def test_without_a_broker_no_pointer_moves(config: Path, tmp_path: Path) -> None:
    """Nobody answers: what to do, and a registry as it was."""
    settings = load_settings(config)
    store = Store(settings.models.registry)
    version = store.add(*detector())
    done = models(config, "shadow", NAME, version, "--bootstrap", "127.0.0.1:1")
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert not PointerLog(store, NAME).moves()
    assert not (tmp_path / "registry" / "log").exists()


async def opened(settings: Settings) -> list[Anomaly]:
    """Anomalies in the order in which they opened."""
    records = [record async for record in read_all(settings, Topic.ANOMALIES)]
    return [
        one for one in (Anomaly.model_validate_json(record.value or b"") for record in records) if one.state == "opened"
    ]


async def ranked_while_live(config: Path, version: str) -> tuple[list[Anomaly], list[Anomaly]]:
    """What opens while the ranker is live, and after it was reverted."""
    settings = load_settings(config)
    messages = metrics(troubled_system(), hours=2.5, slice_s=60)
    async with working(settings):
        done = await asyncio.to_thread(models, config, "promote", RANKER, version)
        assert done.returncode == 0, done.stderr
        await publish_metrics(settings, messages[:75], 0)
        await all_read(settings)
        before = await opened(settings)
        done = await asyncio.to_thread(models, config, "revert", RANKER, "--why", "test")
        assert done.returncode == 0, done.stderr
        await publish_metrics(settings, messages[75:], 0)
        await all_read(settings)
        return before, (await opened(settings))[len(before) :]


async def all_read(settings: Settings) -> None:
    """Wait until ingest and detect have committed all that is there."""
    await drained(settings, build_specs(settings, ["ingest", "detect"]))


def test_anomalies_carry_the_rank_of_a_promoted_ranker(config: Path) -> None:
    """Through a broker, the gate asked: each says how likely it matters, by which version; after a revert none does."""
    version = Store(load_settings(config).models.registry).add(*ranker())
    before, after = asyncio.run(ranked_while_live(config, version))
    assert {one.ranked.version if one.ranked else None for one in before} == {version}
    assert {one.ranked for one in after} == {None}
