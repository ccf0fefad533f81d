"""Promotion and revert on a real broker, with workers and commands killed in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from itertools import groupby
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import pytest
from aiokafka import TopicPartition

from pipeline.registry.pointers import PointerLog
from pipeline.registry.store import Store
from pipeline.runtime.bounded import read_all
from pipeline.runtime.drained import drained
from pipeline.runtime.stages import build_specs
from pipeline.settings import Settings, load_settings
from pipeline.sources.duri_system import DuriSystem, Plan
from pipeline.stage import Topic
from tests.installation import duri
from tests.offline.flows import metrics
from tests.registry.test_pointers import ADA
from tests.registry.trained import band, detector
from tests.runtime.test_real_stages import publish, start
from tests.runtime.toys import make_topics, until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.registry.manifest import ModelManifest
    from pipeline.runtime.broker import EmbeddedBroker
    from pipeline.stage import InputRecord, Output


class Course(NamedTuple):
    """How a kind of model is tried: its versions, length of a frame, and after how many frames it scores."""

    make: Callable[[int], tuple[ModelManifest, bytes]]
    frame_s: int
    warm: int

    def messages(self) -> list[Output]:
        """One a frame, enough to be warm and for twelve hours of whatever happens then."""
        frames = self.warm + 12 * 60
        system = DuriSystem(Plan(days=frames * self.frame_s // 86_400 + 1, step_s=min(self.frame_s, 60)))
        return metrics(system, hours=frames * self.frame_s / 3600, slice_s=self.frame_s)


COURSES = {"detector": Course(detector, 60, 60), "band": Course(band, 600, 150)}
"""A band needs a day of frames before it judges."""
PARTITIONS = 3
"""The demo's services share two of them; the third has models and no data."""
NAME = "services"


@pytest.fixture(params=COURSES)
def course(request: pytest.FixtureRequest) -> Course:
    """One for each kind of model that judges services."""
    return COURSES[request.param]


@pytest.fixture
def config(mortal_broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path, course: Course) -> Path:
    """A settings file for commands and workers."""
    path = tmp_path / "duri.yaml"
    sections = {
        "kafka": {"bootstrap": mortal_broker.bootstrap},
        "topics": {"prefix": topic_prefix, "metrics_partitions": 1, "samples_partitions": PARTITIONS},
        # Idle partitions would move event time on by the wall clock.
        "runtime": {"group": topic_prefix, "http_port": 0, "snapshot_interval_s": 1.0, "tick_after_s": 3600.0},
        "detect": {"frame_s": course.frame_s},
        "models": {"registry": str(tmp_path / "registry")},
    }
    path.write_text(json.dumps(sections), encoding="utf-8")
    return path


async def models(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(duri, "models", *words, "--config", config)


async def frames(settings: Settings) -> list[dict[str, Any]]:
    found = [json.loads(record.value or b"") async for record in read_all(settings, Topic.FRAMES)]
    return [one for one in found if "signals" in one]


def scored_with(frame: dict[str, Any]) -> str | None:
    return frame.get("trained", {}).get(NAME, {}).get("version")


async def feed(settings: Settings, messages: list[Output], enough: asyncio.Event) -> None:
    """Two messages a second, so that whatever happens is in the middle of them; two hours of them at least."""
    for number, message in enumerate(messages):
        if enough.is_set() and number >= 120:
            return
        await publish(settings, [message], 0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(enough.wait(), 0.5)


async def scoring(settings: Settings, version: str) -> None:
    """Wait until the newest frame of every partition is scored with it."""

    async def all_newest() -> bool:
        newest = {one["source"]["partition"]: one for one in sorted(await frames(settings), key=_offset)}
        return bool(newest) and {scored_with(one) for one in newest.values()} == {version}

    await until(all_newest)


def _offset(frame: dict[str, Any]) -> int:
    return frame["source"]["offset"]


async def moved_and_killed(
    settings: Settings, config: Path, log: IO[bytes], course: Course, first: str, second: str
) -> None:
    """A promotion and a revert with kill -9 right behind each, and a promotion whose author dies before telling."""
    await make_topics(settings)
    messages, warm = course.messages(), course.warm + 10
    worker = start(settings, log)
    done = await models(config, "promote", NAME, first, "--force", "--why", "test", "--wait", "180")
    assert done.returncode == 0, done.stderr
    assert f"{PARTITIONS} partitions of duri.samples switched" in done.stdout
    await publish(settings, messages[:warm], 0)
    await scoring(settings, first)
    enough = asyncio.Event()
    feeding = asyncio.create_task(feed(settings, messages[warm:], enough))
    for words, version in (("promote", second), ("revert", first)):
        named = [version, "--force", "--why", "test"] if words == "promote" else []
        done = await models(config, words, NAME, *named, "--wait", "0")
        assert done.returncode == 0, done.stderr
        worker.kill()
        assert worker.wait() == -signal.SIGKILL
        worker = start(settings, log)
        await scoring(settings, version)
    assert not feeding.done()
    PointerLog(Store(settings.models.registry), NAME).promote(second, ADA)
    done = await models(config, "promote", NAME, second, "--wait", "180")
    assert "the workers had not heard of this move" in done.stdout, done.stderr
    enough.set()
    await feeding
    await drained(settings, build_specs(settings))
    worker.terminate()
    assert worker.wait(timeout=15) == 0


async def partition_log(settings: Settings, number: int) -> list[InputRecord]:
    return [record async for record in read_all(settings, Topic.SAMPLES) if record.partition == number]


def replayed(settings: Settings, records: list[InputRecord], number: int) -> list[str]:
    """Frames that a new stage makes of a partition's log."""
    [spec] = build_specs(settings, ["detect"])
    stage = spec.factory(TopicPartition(settings.topics.name(Topic.SAMPLES), number))
    outputs = stage.step(records)
    made = [json.loads(output.value) for output in outputs if output.topic is Topic.FRAMES]
    return sorted(json.dumps(one, sort_keys=True) for one in made if "signals" in one)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_versions_switch_exactly_though_workers_are_killed(config: Path, tmp_path: Path, course: Course) -> None:
    """Every frame once and scored once, each partition switches at one offset, and a replay switches there again."""
    settings = load_settings(config)
    store = Store(settings.models.registry)
    first, second = (store.add(*course.make(seed)) for seed in (1, 2))
    with (tmp_path / "workers.log").open("wb") as log:
        asyncio.run(moved_and_killed(settings, config, log, course, first, second))
    found = asyncio.run(frames(settings))
    places = [(one["service"], one["start"]) for one in found]
    assert len(set(places)) == len(places)
    for service in {one["service"] for one in found}:
        mine = sorted((one for one in found if one["service"] == service), key=lambda one: one["start"])
        warm = [scored_with(one) for one in mine][course.warm :]
        assert len(warm) > 100
        assert None not in warm
    for number in sorted({one["source"]["partition"] for one in found}):
        mine = sorted((one for one in found if one["source"]["partition"] == number), key=_offset)
        assert [version for version, _ in groupby(map(scored_with, mine))] == [None, first, second, first, second]
        records = asyncio.run(partition_log(settings, number))
        assert replayed(settings, records, number) == sorted(json.dumps(one, sort_keys=True) for one in mine)
