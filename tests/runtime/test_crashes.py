"""Exactly once while workers and the broker are killed."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import IO, TYPE_CHECKING

import pytest

from tests.runtime.toys import check_sums, feed, make_topics, outputs_of, settings_for, so_far, until, working
from tests.runtime.worker_process import PLACES, SNAPSHOT_PLACES, TIMING

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.runtime.broker import EmbeddedBroker
    from pipeline.settings import Settings


def start(settings: Settings, log: IO[bytes], die_at: int = 0, where: str = "") -> subprocess.Popen[bytes]:
    order = json.dumps({"settings": settings.model_dump(mode="json"), "die_at": die_at, "where": where})
    return subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.worker_process", order],
        stdout=subprocess.DEVNULL,
        stderr=log,
    )


def numbers(count: int, seed: int) -> list[tuple[str, int]]:
    draw = random.Random(seed)
    return [(f"key{draw.randrange(60)}", draw.randrange(-1000, 1000)) for _ in range(count)]


async def feed_until(settings: Settings, enough: asyncio.Event) -> int:
    """Keep numbers coming in until there are enough; how many there were."""
    turns = 0
    while not enough.is_set():
        await feed(settings, numbers(1_000, turns))
        turns += 1
        await asyncio.sleep(0.4)
    return turns * 1_000


@pytest.mark.slow
def test_workers_killed_in_their_transactions_lose_and_repeat_nothing(
    mortal_broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    """Two workers, eight times kill -9 at every place of a transaction: each input has exactly one right output."""
    settings = settings_for(mortal_broker.bootstrap, topic_prefix, partitions=6)
    draw = random.Random(7)
    places = list(PLACES * 2)

    async def story() -> None:
        await make_topics(settings)
        enough = asyncio.Event()
        feeding = asyncio.create_task(feed_until(settings, enough))
        workers: list[subprocess.Popen[bytes]] = []
        deaths = 0
        with (tmp_path / "workers.log").open("wb") as log:
            while deaths < len(PLACES) * 2 or len(workers) < 2:
                while len(workers) < 2:
                    doom = (draw.randrange(3, 12), places.pop()) if places else ()
                    workers.append(start(settings, log, *doom))
                await asyncio.sleep(0.1)
                deaths += sum(worker.poll() == -signal.SIGKILL for worker in workers)
                workers = [worker for worker in workers if worker.poll() is None]
        enough.set()
        count = await feeding
        await outputs_of(settings, count)
        for worker in workers:
            worker.terminate()
        assert [worker.wait(timeout=15) for worker in workers] == [0, 0]
        assert await check_sums(settings) == count >= 10_000

    asyncio.run(story())


async def caught_up(settings: Settings, inputs: int) -> bool:
    """Whether the last input has its output."""
    return any(json.loads(record.value or b"")[1] == inputs - 1 for record in await so_far(settings))


@pytest.mark.slow
@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_a_worker_killed_within_a_snapshot_goes_on_from_the_one_before(
    mortal_broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path, guarantee: str
) -> None:
    """Killed between the parts of a partial snapshot, six times: every restart finds the committed one whole."""
    settings = settings_for(
        mortal_broker.bootstrap, topic_prefix, partitions=1, snapshot_interval_s=0.2, guarantee=guarantee
    )
    # Without transactions nothing lies between the pointer and its commit.
    places = [where for where in SNAPSHOT_PLACES * 2 if guarantee == "exactly_once" or where != "pointed"]
    idle = [(f"idle{number}", number) for number in range(40)]

    async def story() -> int:
        await make_topics(settings)
        await feed(settings, idle)
        fed = len(idle)
        for turn, where in enumerate(places):
            with (tmp_path / f"{turn}.log").open("wb") as log:
                worker = start(settings, log, 4, where)
                while worker.poll() is None:
                    await feed(settings, numbers(20, fed))
                    fed += 20
                    await asyncio.sleep(0.1)
            assert worker.returncode == -signal.SIGKILL
        async with working(settings, timing=TIMING):
            await outputs_of(settings, fed)
            await until(lambda: caught_up(settings, fed))
        return fed

    fed = asyncio.run(story())
    logs = [(tmp_path / f"{turn}.log").read_text() for turn in range(len(places))]
    assert all("restored" in log for log in logs[1:])
    assert not any("cannot be restored" in log for log in logs)
    assert asyncio.run(check_sums(settings)) == fed


def page(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{address}{path}", timeout=5) as answer:  # noqa: S310  our own address
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_killed_broker_costs_time_only(mortal_broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Without a broker the worker is not ready, and can be stopped in time; afterwards nothing is lost or repeated."""
    settings = settings_for(mortal_broker.bootstrap, topic_prefix, shutdown_s=3.0)

    async def story() -> None:
        await make_topics(settings)
        await feed(settings, numbers(10_000, 1))
        async with working(settings, timing=TIMING) as address:

            async def readiness(status: int) -> bool:
                return (await asyncio.to_thread(page, address, "/readyz"))[0] == status

            await feed(settings, numbers(10_000, 2))
            await asyncio.to_thread(mortal_broker.kill)
            await until(lambda: readiness(503))
            assert (await asyncio.to_thread(page, address, "/healthz"))[0] == 200
            await asyncio.to_thread(mortal_broker.start)
            await until(lambda: readiness(200))
            await outputs_of(settings, 20_000)
            await feed(settings, numbers(10_000, 3))
            await asyncio.to_thread(mortal_broker.kill)
            began = time.monotonic()
        took = time.monotonic() - began
        await asyncio.to_thread(mortal_broker.start)
        async with working(settings, timing=TIMING):
            await outputs_of(settings, 30_000)
        assert await check_sums(settings) == 30_000
        assert took < settings.runtime.shutdown_s + 1

    asyncio.run(story())
