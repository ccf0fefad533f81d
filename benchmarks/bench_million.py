"""A million live series, each sampled every 15 seconds, through detect of one worker, from real `duri.samples`.

python -m benchmarks.bench_million [--minutes 10] [--series 1000000] [--history 35]

1. Fill `duri.samples` with the last scrapes of the past (one a minute), so that learners are past their warm-up, and
   let a `duri run detect` in a process of its own drain them. `backlog_k_per_s` is how fast.
2. Publish scrapes in real time, spread evenly: 67 thousand samples a second of a million series.
3. After a minute, measure for so many minutes: the worker's CPU seconds as a share of two cores, its lag, its memory,
   and the snapshots that it committed.

It keeps up if the lag at the end is what one poll takes. The broker and this publisher share the machine; their CPU
is not the worker's, but they take it from it. `snapshot_s` is the time to copy and compress one partition's state,
taken in this process afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
from aiokafka import AIOKafkaProducer

from benchmarks.harness import broker, fresh_settings, make_topics, report, topic_name
from pipeline.batch import ARRIVAL_HEADER, ARROW_CONTENT_TYPE, SOURCE_HEADER, encode_batch, make_batch
from pipeline.detect.configuration import load_detection
from pipeline.detect.stage import DetectStage
from pipeline.runtime.snapshots import encode_snapshot
from pipeline.series import SERVICE_LABEL, Kind, Series
from pipeline.stage import LogRecord, Topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.settings import Settings

PARTITIONS = 32
ROWS = 3_125
"""Series in a message; 320 messages carry a million, ten for each partition."""
STEP_S = 15
HISTORY_STEP_S = 60
SERVICE = 625
"""Series of a service."""
SETTLE_S = 60.0
LOOK_EVERY_S = 5.0
DRAIN_LIMIT_S = 1_800.0
CORES = 2
SOURCE = "duri.metrics/0"


@dataclass(frozen=True, slots=True)
class Block:
    """Series that travel in one message: identities uint64[n], canonical labels, levels float64[n], their partition."""

    partition: int
    identities: np.ndarray
    labels: list[bytes]
    level: np.ndarray

    def message(self, ts: int, rng: np.random.Generator, source: str) -> tuple[bytes, list[tuple[str, bytes]]]:
        """A scrape of these series."""
        values = self.level * (1.0 + 0.05 * rng.standard_normal(len(self.level)))
        batch = make_batch(self.identities, np.full(len(values), ts), values, self.labels)
        headers = [
            ("content-type", ARROW_CONTENT_TYPE.encode()),
            (SOURCE_HEADER, source.encode()),
            (ARRIVAL_HEADER, str(ts).encode()),
        ]
        return encode_batch(batch), headers


def blocks(series: int) -> list[Block]:
    """All series, a service's together, spread over the partitions."""
    rng = np.random.default_rng(0)
    made = []
    for number, begin in enumerate(range(0, series, ROWS)):
        rows = range(begin, min(begin + ROWS, series))
        every = [
            Series(
                name="queue_depth",
                labels={SERVICE_LABEL: f"service-{i // SERVICE}", "i": str(i)},
                kind=Kind.GAUGE,
                unit="",
            )
            for i in rows
        ]
        identities = np.array([one.identity() for one in every], dtype=np.uint64)
        level = rng.uniform(10.0, 1000.0, len(every))
        made.append(Block(number % PARTITIONS, identities, [one.canonical() for one in every], level))
    return made


class Worker:
    """`duri run detect` in a process of its own, as its operating system and its own metrics show it."""

    def __init__(self, settings: Settings) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        environment = os.environ | {
            "DURI_BOOTSTRAP": settings.kafka.bootstrap,
            "DURI_TOPICS__PREFIX": settings.topics.prefix,
            "DURI_TOPICS__METRICS_PARTITIONS": "1",
            "DURI_TOPICS__SAMPLES_PARTITIONS": str(PARTITIONS),
            "DURI_RUNTIME__GROUP": settings.runtime.group,
            "DURI_RUNTIME__HTTP_PORT": str(self._port),
        }
        command = [sys.executable, "-m", "pipeline", "run", "detect"]
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._seen = psutil.Process(self._process.pid)

    def cpu_s(self) -> float:
        """CPU seconds so far."""
        times = self._seen.cpu_times()
        return float(times.user + times.system)

    def resident_mb(self) -> float:
        """Resident memory now."""
        return float(self._seen.memory_info().rss / 1e6)

    def peak_mb(self) -> float:
        """The most resident memory so far."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found[1]) / 1000 if found else float("nan")

    def metrics(self) -> dict[str, float]:
        """Sums of its own metrics by name; empty while it does not answer yet."""
        if self._process.poll() is not None:
            raise SystemExit(f"the worker ended by itself with status {self._process.returncode}")
        sums: dict[str, float] = {}
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=20) as page:
                text = page.read().decode()
            for line in text.splitlines():
                if not line.startswith("#"):
                    name, value = line.rsplit(" ", 1)
                    name = name.partition("{")[0]
                    sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    def stop(self) -> None:
        """End it in good order."""
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()


@dataclass(slots=True)
class Looks:
    """What was seen of the worker from look to look."""

    lag: list[int] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)


@contextlib.asynccontextmanager
async def producer(settings: Settings) -> Iterator[AIOKafkaProducer]:
    """As ingest publishes."""
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap, compression_type="zstd", linger_ms=5, max_request_size=2_000_000
    ) as one:
        yield one


async def fill(settings: Settings, every: list[Block], scrapes: int) -> None:
    """Publish scrapes of the past, one a minute, the last a minute ago."""
    topic, rng = topic_name(settings, Topic.SAMPLES), np.random.default_rng(1)
    source = f"{topic_name(settings, Topic.METRICS)}/0"
    now = int(time.time() * 1000)
    async with producer(settings) as kafka:
        for scrape in range(scrapes, 0, -1):
            sent = []
            for block in every:
                value, headers = block.message(now - scrape * HISTORY_STEP_S * 1000, rng, source)
                sent.append(await kafka.send(topic, value, partition=block.partition, headers=headers))
            await asyncio.gather(*sent)


async def publish(settings: Settings, every: list[Block], until: float) -> float:
    """Publish scrapes in real time until then (monotonic s); the share of them that was sent late by over a second."""
    topic, rng = topic_name(settings, Topic.SAMPLES), np.random.default_rng(2)
    source = f"{topic_name(settings, Topic.METRICS)}/0"
    began, late, count = time.monotonic(), 0, 0
    async with producer(settings) as kafka:
        while time.monotonic() < until:
            due = began + count * STEP_S / len(every)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            late += time.monotonic() - due > 1.0
            block = every[count % len(every)]
            value, headers = await asyncio.to_thread(block.message, int(time.time() * 1000), rng, source)
            await kafka.send(topic, value, partition=block.partition, headers=headers)
            count += 1
    return late / max(count, 1)


async def drained(worker: Worker, messages: int) -> float:
    """Seconds until the worker has taken so many messages, from its first."""
    began = None
    limit = time.monotonic() + DRAIN_LIMIT_S
    while time.monotonic() < limit:
        seen = (await asyncio.to_thread(worker.metrics)).get("duri_records_total", 0.0)
        if seen and began is None:
            began = time.monotonic()
        if seen >= messages:
            return time.monotonic() - (began or 0.0)
        await asyncio.sleep(0.5)
    raise SystemExit(f"the worker had not drained {messages} messages within {DRAIN_LIMIT_S:.0f} s")


async def watch(worker: Worker, seconds: float) -> tuple[Looks, dict[str, float]]:
    """Look at the worker every few seconds; its CPU and snapshots over the time."""
    looks, before = Looks(), await asyncio.to_thread(worker.metrics)
    cpu, began = worker.cpu_s(), time.monotonic()
    while time.monotonic() < began + seconds:
        await asyncio.sleep(LOOK_EVERY_S)
        looks.lag.append(round((await asyncio.to_thread(worker.metrics)).get("duri_lag_records", 0.0)))
        looks.resident.append(worker.resident_mb())
    wall, after = time.monotonic() - began, await asyncio.to_thread(worker.metrics)
    grown = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in after}
    snapshots = grown.get("duri_snapshots_total", 0.0)
    return looks, {
        "cpu_share_of_two_cores": round((worker.cpu_s() - cpu) / wall / CORES, 3),
        "samples_k_per_s": round(grown.get("duri_records_total", 0.0) * ROWS / wall / 1000, 1),
        "snapshots": round(snapshots),
        "snapshot_mb": round(grown.get("duri_snapshot_bytes_total", 0.0) / max(snapshots, 1.0) / 1e6, 2),
    }


def snapshot_s(every: list[Block]) -> float:
    """Seconds to copy and compress the state of one partition."""
    settings = fresh_settings("127.0.0.1:1")
    configuration = load_detection(settings.config_dir, settings.detect, partitions=1)
    stage = DetectStage(configuration, input_topic="duri.samples", partition=0, sources=[SOURCE])
    rng = np.random.default_rng(3)
    for scrape in range(HISTORY_STEP_S):
        log = []
        for block in every:
            if block.partition == 0:
                ts = 1_767_225_600_000 + scrape * HISTORY_STEP_S * 1000
                value, headers = block.message(ts, rng, SOURCE)
                log.append(LogRecord("duri.samples", 0, scrape, ts, None, value, headers))
        stage.step(log)
    began = time.perf_counter()
    encode_snapshot("detect", 1, stage.snapshot())
    return time.perf_counter() - began


async def measure(bootstrap: str, every: list[Block], minutes: float, history: int) -> dict[str, float]:
    """All that is told of the worker."""
    settings = fresh_settings(bootstrap, **{"topics.metrics_partitions": 1, "topics.samples_partitions": PARTITIONS})
    await make_topics(settings)
    await fill(settings, every, history)
    worker = Worker(settings)
    try:
        backlog_s = await drained(worker, history * len(every))
        sys.stderr.write(f"history drained in {backlog_s:.0f} s; live for {minutes:g} minutes\n")
        until = time.monotonic() + SETTLE_S + minutes * 60.0
        publisher = asyncio.create_task(publish(settings, every, until))
        await asyncio.sleep(SETTLE_S)
        looks, figures = await watch(worker, minutes * 60.0)
        late = await publisher
        return figures | {
            "backlog_k_per_s": round(history * len(every) * ROWS / backlog_s / 1000),
            "lag_messages_median": float(np.median(looks.lag)),
            "lag_messages_most": max(looks.lag),
            "lag_messages_end": looks.lag[-1],
            "messages_per_s": round(len(every) / STEP_S, 1),
            "published_late_share": round(late, 3),
            "resident_mb": round(max(looks.resident)),
            "resident_peak_mb": round(worker.peak_mb()),
        }
    finally:
        worker.stop()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--series", type=int, default=1_000_000)
    parser.add_argument("--history", type=int, default=35, help="scrapes of the past, one a minute")
    args = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # a new topic has no leader for a moment
    every = blocks(args.series)
    with broker() as bootstrap:
        figures = asyncio.run(measure(bootstrap, every, args.minutes, args.history))
    figures["snapshot_s"] = round(snapshot_s(every), 3)
    report("million", {"series": args.series, "minutes": args.minutes, "partitions": PARTITIONS, **figures})


if __name__ == "__main__":
    main()
