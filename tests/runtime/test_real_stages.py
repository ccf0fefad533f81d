"""The real stages, killed in the middle of a stream; as a program, the worker that is killed.

python -m tests.runtime.test_real_stages '{settings as JSON}'
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from typing import IO, TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from pipeline.runtime.children import end_with_parent
from pipeline.runtime.drained import drained
from pipeline.runtime.logs import configure_logging
from pipeline.runtime.stages import build_specs
from pipeline.runtime.worker import run_worker
from pipeline.settings import Settings, load_settings
from pipeline.stage import Output, Topic
from tests.offline.flows import FOUND, comparable, local, metrics, troubled_system, written
from tests.runtime.toys import make_topics, read_all, so_far, until
from tests.runtime.worker_process import TIMING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.runtime.broker import EmbeddedBroker

KILLS = 3


async def work(settings: Settings) -> None:
    """The three stages until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await run_worker(settings, build_specs(settings), stop, timing=TIMING)


def start(settings: Settings, log: IO[bytes]) -> subprocess.Popen[bytes]:
    order = json.dumps(settings.model_dump(mode="json"))
    command = [sys.executable, "-m", "tests.runtime.test_real_stages", order]
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


async def publish(settings: Settings, messages: Sequence[Output], pause_s: float) -> None:
    """One message after the other, so that there is a middle in which to kill."""
    topic = settings.topics.name(Topic.METRICS)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        for message in messages:
            await producer.send_and_wait(topic, message.value, headers=list(message.headers), partition=0)
            await asyncio.sleep(pause_s)


async def frames(settings: Settings) -> int:
    return len(await so_far(settings, Topic.FRAMES))


async def kill_in_the_stream(settings: Settings, messages: Sequence[Output], log: IO[bytes], delay_s: float) -> None:
    """A worker that is killed while these messages come in, after it has committed some frames of its own."""
    before = await frames(settings)
    worker = start(settings, log)
    # What came while no worker was there is not the middle of a stream: half of it comes after the first frames.
    half = len(messages) // 2
    await publish(settings, messages[:half], 0)

    async def working() -> bool:
        assert worker.poll() is None, "the worker ended by itself"
        return await frames(settings) > before

    await until(working)
    feeding = asyncio.create_task(publish(settings, messages[half:], 0.03))
    await asyncio.sleep(delay_s)
    worker.kill()
    assert worker.wait() == -signal.SIGKILL
    assert not feeding.done()
    await feeding


async def killed_and_run_to_the_end(
    settings: Settings, messages: Sequence[Output], log: IO[bytes]
) -> dict[Topic, list[str]]:
    """What is there, under read_committed, after as many deaths and one worker that lives."""
    await make_topics(settings)
    part = len(messages) // (KILLS + 1)
    draw = random.Random(11)
    for kill in range(KILLS):
        await kill_in_the_stream(settings, messages[kill * part : (kill + 1) * part], log, draw.uniform(0.05, 0.4))
    survivor = start(settings, log)
    await publish(settings, messages[KILLS * part :], 0)
    await drained(settings, build_specs(settings))
    survivor.terminate()
    assert survivor.wait(timeout=15) == 0
    return {
        topic: comparable([record.value or b"" for record in await read_all(settings, topic)])
        for topic in (*FOUND, Topic.FRAMES)
    }


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_killed_stages_write_what_uninterrupted_ones_write(
    mortal_broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    """kill -9 three times in the stream: frames, findings and advice are those of one uninterrupted run, each once."""
    settings = load_settings(
        overrides={
            "kafka.bootstrap": mortal_broker.bootstrap,
            "topics.prefix": topic_prefix,
            "topics.metrics_partitions": 1,
            "topics.samples_partitions": 1,
            "topics.frames_partitions": 1,
            "runtime.group": topic_prefix,
            "runtime.http_port": 0,
            "runtime.snapshot_interval_s": 1.0,
            # Idle partitions would move event time on by the wall clock.
            "runtime.tick_after_s": 3600.0,
        }
    )
    messages = metrics(troubled_system(), hours=2, slice_s=60)
    outputs = local(settings, messages)
    expected = {topic: written(outputs, topic) for topic in (*FOUND, Topic.FRAMES)}
    with (tmp_path / "workers.log").open("wb") as log:
        found = asyncio.run(killed_and_run_to_the_end(settings, messages, log))
    assert {topic: len(records) for topic, records in found.items()} == {
        topic: len(records) for topic, records in expected.items()
    }
    assert found == expected
    assert len(expected[Topic.FRAMES]) > 400
    assert expected[Topic.RECOMMENDATIONS]


if __name__ == "__main__":
    end_with_parent()
    ordered = Settings.model_validate(json.loads(sys.argv[1]))
    configure_logging(ordered.runtime)
    asyncio.run(work(ordered))
