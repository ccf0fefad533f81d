"""From `duri models promote` and `revert` to the first frame scored with the version, on a real broker, under load.

Frames of one second, twenty services, a sample of each signal every 200 ms; features are warm. `…_s` is from the
start of the command (a process of its own, its imports included) to the arrival of the first such frame, `gap_s` the
longest time between two frames' arrivals from a second before the first command to the end, and `pause_s` what it is
longer than the second that it always is.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from aiokafka import AIOKafkaProducer, TopicPartition

from benchmarks.harness import broker, fresh_settings, make_topics, median, report, topic_name
from benchmarks.trained import model
from pipeline.batch import ARROW_CONTENT_TYPE, encode_batch, make_batch
from pipeline.registry.store import Store
from pipeline.runtime.clients import log_reader
from pipeline.runtime.memory import collect_seldom
from pipeline.runtime.stages import build_specs
from pipeline.runtime.worker import run_worker
from pipeline.series import SERVICE_LABEL, Kind, Series
from pipeline.stage import Topic

if TYPE_CHECKING:
    from pipeline.settings import Settings

ROUNDS = 3
WARM_S = 75
SIGNALS = ("container.memory.bytes",)
SERIES = [
    Series(name="container_memory_usage_bytes", labels={SERVICE_LABEL: f"service-{n}"}, kind=Kind.GAUGE, unit="By")
    for n in range(20)
]


def scrape(at: int) -> bytes:
    """All series once."""
    identities = np.array([one.identity() for one in SERIES], dtype=np.uint64)
    values = 1e9 * (1 + 0.05 * np.sin(at / 700.0 + np.arange(len(SERIES))))
    return encode_batch(make_batch(identities, np.full(len(SERIES), at), values, [s.canonical() for s in SERIES]))


async def produce(settings: Settings, stop: asyncio.Event) -> None:
    """The last 75 seconds at once, then five scrapes a second."""
    topic, headers = topic_name(settings, Topic.METRICS), [("content-type", ARROW_CONTENT_TYPE.encode())]
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        at = int(time.time() * 1000) - WARM_S * 1000
        while not stop.is_set():
            while at < time.time() * 1000:
                await producer.send_and_wait(topic, scrape(at), headers=headers, partition=0)
                at += 200
            await asyncio.sleep(0.02)


class Arrivals:
    """When frames arrived, and which version scored each."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, str | None]] = []

    async def watch(self, settings: Settings, stop: asyncio.Event) -> None:
        """Read `duri.frames` as it grows."""
        place = TopicPartition(topic_name(settings, Topic.FRAMES), 0)
        async with log_reader(settings.kafka) as reader:
            reader.assign([place])
            await reader.seek_to_beginning(place)
            while not stop.is_set():
                for record in (await reader.getmany(place, timeout_ms=20)).get(place, ()):
                    frame = json.loads(record.value)
                    if "signals" in frame:
                        scored = next(iter(frame.get("trained", {}).values()), {})
                        self.seen.append((time.monotonic(), scored.get("version")))

    async def first(self, version: str, since: float) -> float:
        """When the first frame scored with it arrived after this time."""
        while True:
            for at, scored in self.seen:
                if at >= since and scored == version:
                    return at
            await asyncio.sleep(0.01)


async def command(config: Path, *words: str) -> float:
    """When the command began; it has ended."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pipeline", "models", *words, "--config", str(config), stdout=sys.stderr
    )
    if await process.wait():
        raise SystemExit("the command failed")
    return began


async def measure(settings: Settings, config: Path) -> dict[str, float]:
    """Promote, promote another, revert, again and again."""
    store = Store(settings.models.registry)
    [(first, manifest), (second, _)] = [
        (store.add(*one), one[0]) for one in (model("forest", SIGNALS, seed) for seed in (1, 2))
    ]
    name, force = manifest.name, ("--force", "--why", "benchmark")
    await make_topics(settings)
    stop, arrivals = asyncio.Event(), Arrivals()
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    specs = build_specs(settings, ["ingest", "detect"])
    tasks = [asyncio.create_task(run_worker(settings, specs, stop, on_ready=ready.set_result))]
    await ready
    await command(config, "shadow", name, second)
    began = await command(config, "promote", name, first, *force)
    tasks += [asyncio.create_task(one) for one in (produce(settings, stop), arrivals.watch(settings, stop))]
    await asyncio.wait_for(arrivals.first(first, began), 120)
    begin = time.monotonic() - 1.0
    promotions, reverts = [], []
    for _ in range(ROUNDS):
        began = await command(config, "promote", name, second, *force)
        promotions.append(await asyncio.wait_for(arrivals.first(second, began), 30) - began)
        began = await command(config, "revert", name)
        reverts.append(await asyncio.wait_for(arrivals.first(first, began), 30) - began)
    stop.set()
    await asyncio.gather(*tasks)
    times = np.array([at for at, _ in arrivals.seen if at >= begin])
    gap = float(np.diff(times).max())
    return {
        "promotion_s": round(median(promotions), 2),
        "promotion_worst_s": round(max(promotions), 2),
        "revert_s": round(median(reverts), 2),
        "revert_worst_s": round(max(reverts), 2),
        "gap_s": round(gap, 2),
        "pause_s": round(gap - settings.detect.frame_s, 2),
    }


def main() -> None:
    """Frames of a second, so that frames' ends do not hide what is measured."""
    collect_seldom()
    with broker() as bootstrap, tempfile.TemporaryDirectory() as folder:
        settings = fresh_settings(
            bootstrap,
            **{
                "topics.metrics_partitions": 1,
                "topics.samples_partitions": 1,
                "detect.frame_s": 1.0,
                "detect.lateness_s": 0.0,
                "models.registry": f"{folder}/registry",
            },
        )
        config = Path(folder) / "duri.yaml"
        config.write_text(settings.model_dump_json(exclude={"config_dir"}, exclude_none=True), encoding="utf-8")
        report("promotion", asyncio.run(measure(settings, config)))


if __name__ == "__main__":
    main()
