"""A worker on real Kafka: sharing partitions, stopping, idling, and what it does with trouble."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.error import HTTPError

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from pipeline.errors import BrokerError, BrokerUnavailableError, DuriError, SettingsError
from pipeline.runtime.worker import run_worker
from pipeline.stage import Output, Topic
from tests.runtime.toys import (
    FAST,
    RunningSums,
    check_sums,
    feed,
    make_topics,
    outputs_of,
    read_all,
    settings_for,
    so_far,
    sums_spec,
    until,
    working,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.runtime.broker import EmbeddedBroker
    from pipeline.settings import Settings
    from pipeline.stage import InputRecord

NUMBERS = [(f"key{number % 41}", number) for number in range(2_000)]


def page(address: str, path: str) -> str:
    with urllib.request.urlopen(f"{address}{path}", timeout=5) as answer:  # noqa: S310  our own address
        return answer.read().decode()


async def partitions_held(address: str) -> int:
    """How many partitions a worker holds; -1 while it is not ready, as when it replays one that it was given."""
    try:
        return json.loads(await asyncio.to_thread(page, address, "/readyz"))["stages"]["sums"]["partitions"]
    except HTTPError:
        return -1


def test_a_third_worker_takes_its_share_and_gives_it_back(kafka: str, topic_prefix: str) -> None:
    """Partitions move to a joining worker and back, in the middle of the stream: nothing lost, nothing twice."""
    settings = settings_for(kafka, topic_prefix, partitions=6)

    async def story() -> None:
        await make_topics(settings)
        joining = asyncio.create_task(stream(settings, 8))
        async with working(settings) as first, working(settings) as second:
            async with working(settings) as third:

                async def shared() -> bool:
                    return [await partitions_held(at) for at in (first, second, third)] == [2, 2, 2]

                await until(shared)
                leaving = asyncio.create_task(stream(settings, 8))
                await asyncio.sleep(0.3)
            await asyncio.gather(joining, leaving)
            await outputs_of(settings, 32_000)
        assert await check_sums(settings) == 32_000

    asyncio.run(story())


async def stream(settings: Settings, rounds: int) -> None:
    for _ in range(rounds):
        await feed(settings, NUMBERS)
        await asyncio.sleep(0.2)


async def open_offsets(settings: Settings, role: Topic) -> dict[int, tuple[int, int]]:
    """Last stable offset and end of each partition: they differ while a transaction is open."""
    topic = settings.topics.name(role)
    sources = [TopicPartition(topic, number) for number in range(settings.topics.partitions(role))]
    found = []
    for level in ("read_committed", "read_uncommitted"):
        async with AIOKafkaConsumer(bootstrap_servers=settings.kafka.bootstrap, isolation_level=level) as reader:
            found.append(await reader.end_offsets(sources))
    return {source.partition: (found[0][source], found[1][source]) for source in sources}


def test_sigterm_ends_within_ten_seconds_and_leaves_nothing_open(
    mortal_broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """A worker asked to stop in full work commits, closes its transactions and leaves its group."""
    settings = settings_for(mortal_broker.bootstrap, topic_prefix)
    order = json.dumps({"settings": settings.model_dump(mode="json")})

    async def story() -> tuple[int, float]:
        await make_topics(settings)
        with subprocess.Popen(  # noqa: ASYNC220  it is only started here
            [sys.executable, "-m", "tests.runtime.worker_process", order],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as worker:
            assert worker.stdout is not None
            await asyncio.to_thread(worker.stdout.readline)
            feeding = asyncio.create_task(stream(settings, 5))
            await asyncio.sleep(0.7)
            worker.send_signal(signal.SIGTERM)
            began = time.monotonic()
            status = await asyncio.to_thread(worker.wait, 20)
            took = time.monotonic() - began
        await feeding
        assert all(stable == end for stable, end in (await open_offsets(settings, Topic.FRAMES)).values())
        admin = AIOKafkaAdminClient(bootstrap_servers=mortal_broker.bootstrap)
        await admin.start()
        (described,) = await admin.describe_consumer_groups([f"{settings.runtime.group}.sums"])
        await admin.close()
        assert described.groups[0][2] == "Empty"
        async with working(settings):
            await outputs_of(settings, 10_000)
        assert await check_sums(settings) == 10_000
        return status, took

    status, took = asyncio.run(story())
    assert status == 0
    assert took < 10


class Ticking(RunningSums):
    """Adds a number to its own log whenever it was idle, up to three times."""

    ticked: list[int] = []  # noqa: RUF012  looked at by the test

    def tick(self, elapsed_ms: int) -> Sequence[Output]:
        self.ticked.append(elapsed_ms)
        if len(self.ticked) > 3:
            return ()
        return [Output(Topic.SAMPLES, b"1", 0, b"tick", partition=self.source.partition)]


def test_an_idle_partition_ticks(kafka: str, topic_prefix: str) -> None:
    """An idle partition's stage may append to its own input; it is told how long it was idle."""
    settings = settings_for(kafka, topic_prefix, partitions=1, tick_after_s=0.4)
    Ticking.ticked.clear()

    async def story() -> list[InputRecord]:
        await make_topics(settings)
        await feed(settings, [("a", 5)])
        async with working(settings, Ticking):
            return await outputs_of(settings, 4)

    outputs = [json.loads(record.value or b"") for record in asyncio.run(story())]
    assert [(key, total) for _, _, key, total in outputs] == [("a", 5), ("tick", 1), ("tick", 2), ("tick", 3)]
    assert all(400 <= elapsed < 5_000 for elapsed in Ticking.ticked)


class Bulky(RunningSums):
    """Writes, for each record, a record far beyond any limit, and one that compresses to little, before the sum."""

    def step(self, records: Sequence[InputRecord]) -> list[Output]:
        noise = b"".join(number.to_bytes(8, "big") for number in (pow(3, k, 2**61 - 1) for k in range(500_000)))
        bulky = [Output(Topic.FRAMES, noise, 0, b"bulky"), Output(Topic.FRAMES, bytes(3_000_000), 0, b"zeros")]
        return bulky + super().step(records)


def test_an_output_beyond_the_limit_is_dropped_alone(
    kafka: str, topic_prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record the broker would never take is dropped and said; its neighbours get through, and what compresses."""
    settings = settings_for(kafka, topic_prefix, partitions=1)

    async def story() -> list[InputRecord]:
        await make_topics(settings)
        await feed(settings, [("a", 5)])
        async with working(settings, Bulky):
            return await outputs_of(settings, 2)

    outputs = {record.key: record.value for record in asyncio.run(story())}
    assert outputs == {b"zeros": bytes(3_000_000), b"a": b'[0, 0, "a", 5]'}
    assert "longer than its topic takes" in capsys.readouterr().out


def test_at_least_once_loses_nothing(kafka: str, topic_prefix: str) -> None:
    """Without transactions every input still has its output after a worker was cut off, some perhaps twice."""
    settings = settings_for(kafka, topic_prefix, guarantee="at_least_once", commit_interval_s=0.2)

    async def story() -> tuple[set[tuple[int, int]], int]:
        await make_topics(settings)
        await feed(settings, NUMBERS)
        ready = asyncio.Event()
        worker = asyncio.create_task(
            run_worker(settings, [sums_spec(settings)], asyncio.Event(), on_ready=lambda _: ready.set(), timing=FAST)
        )
        await ready.wait()
        worker.cancel()
        await asyncio.wait({worker})
        await feed(settings, NUMBERS)
        async with working(settings):

            async def complete() -> bool:
                return len(places(await so_far(settings))) == 4_000

            await until(complete)
        records = await read_all(settings)
        return places(records), len(records)

    found, written = asyncio.run(story())
    assert len(found) == 4_000
    assert written >= 4_000


def places(records: Sequence[InputRecord]) -> set[tuple[int, int]]:
    return {tuple(json.loads(record.value or b"")[:2]) for record in records}


class Broken(RunningSums):
    """Has a mistake."""

    def step(self, records: Sequence[InputRecord]) -> list[Output]:
        raise ZeroDivisionError(f"at {records[0].offset}")


def test_a_stage_that_always_fails_ends_the_worker(kafka: str, topic_prefix: str) -> None:
    """A mistake in a stage is tried again a few times, then the worker says where it is and ends."""
    settings = settings_for(kafka, topic_prefix, partitions=1)

    async def story() -> None:
        await make_topics(settings)
        await feed(settings, NUMBERS[:1])
        timing = replace(FAST, max_failures=3)
        await run_worker(settings, [sums_spec(settings, Broken)], asyncio.Event(), timing=timing)

    with pytest.raises(DuriError, match=r"sums: .*samples/0 failed 3 times in a row .*ZeroDivisionError: at 0"):
        asyncio.run(story())


class Flaky(RunningSums):
    """Fails three times."""

    steps = 0

    def step(self, records: Sequence[InputRecord]) -> list[Output]:
        Flaky.steps += 1
        if Flaky.steps in {3, 9, 16}:
            raise RuntimeError("a bad moment")
        return super().step(records)


def test_a_stage_that_fails_now_and_then_goes_on(kafka: str, topic_prefix: str) -> None:
    """After a failure the partition starts again from its committed offset: nothing lost, nothing twice."""
    settings = settings_for(kafka, topic_prefix, partitions=2, max_poll_records=100)

    async def story() -> int:
        await make_topics(settings)
        await feed(settings, NUMBERS)
        async with working(settings, Flaky):
            await outputs_of(settings, 2_000)
        return await check_sums(settings)

    assert asyncio.run(story()) == 2_000


def test_missing_topics_name_the_remedy(kafka: str, topic_prefix: str) -> None:
    """A worker without its topics says which, and how to make them."""
    settings = settings_for(kafka, topic_prefix)
    with pytest.raises(BrokerError, match=r"topics missing.*samples.*duri topics create"):
        asyncio.run(run_worker(settings, [sums_spec(settings)], asyncio.Event(), timing=FAST))


def test_partitions_other_than_set_are_refused(kafka: str, topic_prefix: str) -> None:
    """Stages address partitions by number: the settings must agree with the topic."""
    asyncio.run(make_topics(settings_for(kafka, topic_prefix, partitions=2)))
    settings = settings_for(kafka, topic_prefix, partitions=3)
    with pytest.raises(SettingsError, match=r"topics\.samples_partitions is 3, but .* has 2 partitions"):
        asyncio.run(run_worker(settings, [sums_spec(settings)], asyncio.Event(), timing=FAST))


def test_no_broker_names_the_address_and_the_remedy(topic_prefix: str) -> None:
    """Where nobody answers the worker says where it looked and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = settings_for(address, topic_prefix)
        with pytest.raises(BrokerUnavailableError, match=rf"{address}.*--bootstrap.*duri broker"):
            asyncio.run(
                run_worker(settings, [sums_spec(settings)], asyncio.Event(), timing=replace(FAST, broker_wait_s=0.3))
            )


def test_a_taken_port_is_a_wrong_setting(topic_prefix: str) -> None:
    """The port of the pages can be taken: the message names the setting."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = settings_for("127.0.0.1:1", topic_prefix, http_port=taken.getsockname()[1])
        with pytest.raises(SettingsError, match=r"runtime\.http_port.*--http-port"):
            asyncio.run(run_worker(settings, [sums_spec(settings)], asyncio.Event(), timing=FAST))


def test_pages_tell_health_and_numbers(kafka: str, topic_prefix: str) -> None:
    """Health, readiness and metrics, with the stage's own numbers summed over its partitions."""
    settings = settings_for(kafka, topic_prefix)

    async def story() -> tuple[str, str, str]:
        await make_topics(settings)
        await feed(settings, NUMBERS)
        async with working(settings) as address:
            await outputs_of(settings, 2_000)
            await asyncio.sleep(1.0)  # until the first snapshot
            health, ready, metrics = [
                await asyncio.to_thread(page, address, path) for path in ("/healthz", "/readyz", "/metrics")
            ]
        return health, ready, metrics

    health, ready, metrics = asyncio.run(story())
    assert json.loads(health) == {"status": "ok"}
    assert json.loads(ready) == {
        "ready": True,
        "broker": True,
        "stages": {"sums": {"ready": True, "partitions": 4}},
    }
    lines = metrics.splitlines()
    assert 'duri_seen_total{stage="sums"} 2000.0' in lines
    assert 'duri_keys{kind="sum",stage="sums"} 41.0' in lines
    assert 'duri_records_total{stage="sums"} 2000.0' in lines
    assert 'duri_outputs_total{stage="sums"} 2000.0' in lines
    topic = settings.topics.name(Topic.SAMPLES)
    for partition in range(4):
        assert f'duri_lag_records{{partition="{partition}",stage="sums",topic="{topic}"}} 0.0' in lines
    for name in ("duri_stage_seconds_bucket", "duri_transactions_total", "duri_snapshots_total", "duri_ready 1.0"):
        assert name in metrics
