"""From the sample that completes a frame to the recommendation, all three stages exactly once, at half of full load.

Full load is what one worker on this machine takes through all stages, measured first with a backlog. Then half of it
is published in real time for a minute (50,000 series, each sampled several times a second; frames of one second),
while three services a second jump to 97 % of their memory. The latency of a recommendation runs from the moment when
the sample that completes the frame was handed to the producer to the moment when a read_committed consumer has the
recommendation.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.harness import broker, fill, fresh_settings, make_topics, report, running, topic_name
from pipeline.runtime.stages import build_specs
from pipeline.stage import Topic

if TYPE_CHECKING:
    from pipeline.settings import Settings

VICTIMS = 150
EACH_SECOND = 3
LIMIT = 1 << 30
BACKGROUND_SERVICES = 50
LATENESS_S = 0.2
WARM_UP_S = 15
MEASURED_S = 60
LOAD_SERIES = 50_000
BACKLOG_SERIES = 20_000
BACKLOG_SCRAPES = 60
ROWS = 1_000

OVERRIDES = {
    "detect.frame_s": 1.0,
    "detect.lateness_s": LATENESS_S,
    "topics.metrics_partitions": 2,
    "topics.samples_partitions": 4,
    "runtime.tick_after_s": 1.0,
}
HEADERS = [("content-type", b"application/vnd.duri.columnar+json")]


def background(series: int) -> list[bytes]:
    """The `series` part of messages of a thousand gauges each."""
    entries = [
        {"name": "queue_depth", "labels": {"service": f"load-{i % BACKGROUND_SERVICES}", "i": str(i)}}
        for i in range(series)
    ]
    return [json.dumps(entries[begin : begin + ROWS]).encode() for begin in range(0, series, ROWS)]


def scrape(parts: list[bytes], ts: int, rng: np.random.Generator) -> list[bytes]:
    """One message for each part at this time."""
    return [
        b'{"series":%s,"ts":%d,"value":%s}' % (part, ts, json.dumps(rng.normal(50, 2, ROWS).round(3).tolist()).encode())
        for part in parts
    ]


def victims(ts: int, begun: int) -> bytes:
    """Memory of the services; the first `begun` of them are at 97 % of their limit."""
    series, values = [], []
    for one in range(VICTIMS):
        labels = {"service": f"victim-{one:02d}"}
        series += [
            {"name": "container_memory_usage_bytes", "labels": labels},
            {"name": "container_spec_memory_limit_bytes", "labels": labels},
        ]
        values += [LIMIT * (0.97 if one < begun else 0.5), LIMIT]
    return json.dumps({"series": series, "ts": ts, "value": values}).encode()


async def full_load(bootstrap: str) -> float:
    """Samples a second that go through all stages from a backlog."""
    settings = fresh_settings(bootstrap, **OVERRIDES)
    await make_topics(settings)
    parts, rng, start = background(BACKLOG_SERIES), np.random.default_rng(1), 1_767_225_600_000
    messages = [
        (at % 2, value, HEADERS)
        for number in range(BACKLOG_SCRAPES)
        for at, value in enumerate(scrape(parts, start + number * 1000, rng))
    ]
    await fill(settings, topic_name(settings, Topic.METRICS), messages)
    began = time.perf_counter()
    async with running(settings, build_specs(settings)):
        until = (start + (BACKLOG_SCRAPES - 2) * 1000) / 1000
        await _last_watermark(settings, until)
    return BACKLOG_SERIES * BACKLOG_SCRAPES / (time.perf_counter() - began)


async def _last_watermark(settings: Settings, until: float) -> None:
    """Wait until all partitions of detect have passed this event time (s)."""
    passed: set[int] = set()
    async with _consumer(settings, Topic.FRAMES) as consumer:
        while len(passed) < 4:
            async for record in consumer:
                if dict(record.headers).get("ce_type") == b"duri.watermark.v1":
                    mark = json.loads(record.value)
                    if datetime.fromisoformat(mark["until"]).timestamp() >= until:
                        passed.add(mark["source_partition"])
                        break


def _consumer(settings: Settings, topic: Topic) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        topic_name(settings, topic),
        bootstrap_servers=settings.kafka.bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=20,
    )


@dataclass(slots=True)
class Run:
    """What was published when, and what came when."""

    sent: tuple[list[tuple[int, float]], ...] = field(default_factory=lambda: ([], []))
    """(event time ms, wall s) of each message, by partition of `duri.metrics`."""
    came: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Service to (created s, wall s) of its first recommendation."""

    def latencies(self) -> list[float]:
        """Seconds from the completing sample to the recommendation."""
        result = []
        for created, arrived in self.came.values():
            due = created * 1000 + LATENESS_S * 1000
            # The frame is complete when both partitions have a sample past its end.
            first = [next((wall for ts, wall in sent if ts >= due), None) for sent in self.sent]
            walls = [wall for wall in first if wall is not None]
            if len(walls) == len(first):
                result.append(arrived - max(walls))
        return result


async def publish(settings: Settings, rate: float, run: Run) -> None:
    """The load at this rate, and the services in trouble one after the other, in real time."""
    parts = background(LOAD_SERIES)
    batches = max(1, int(rate) // ROWS)
    rng = np.random.default_rng(2)
    topic = topic_name(settings, Topic.METRICS)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap, linger_ms=2) as producer:
        began = time.time()
        for second in range(WARM_UP_S + MEASURED_S):
            await asyncio.sleep(max(0.0, began + second - time.time()))
            now = int(time.time() * 1000)
            begun = max(0, EACH_SECOND * (second - WARM_UP_S))
            await producer.send(topic, victims(now, begun), partition=0, headers=HEADERS)
            run.sent[0].append((now, time.time()))
            for at in range(batches):
                # Spread over the second, as scrapes are.
                await asyncio.sleep(max(0.0, began + second + at / batches * 0.9 - time.time()))
                stamp = int(time.time() * 1000)
                [value] = scrape([parts[(second * batches + at) % len(parts)]], stamp, rng)
                await producer.send(topic, value, partition=at % 2, headers=HEADERS)
                run.sent[at % 2].append((stamp, time.time()))


async def collect(settings: Settings, run: Run) -> None:
    """Note when the first recommendation of each service is here."""
    async with _consumer(settings, Topic.RECOMMENDATIONS) as consumer:
        async for record in consumer:
            wall = time.time()
            advice = json.loads(record.value)
            service = advice["target"]["service"]
            if service not in run.came:
                run.came[service] = (datetime.fromisoformat(advice["created"]).timestamp(), wall)


async def half_load(bootstrap: str, rate: float) -> Run:
    """The measured run."""
    settings = fresh_settings(bootstrap, **OVERRIDES)
    await make_topics(settings)
    run = Run()
    async with running(settings, build_specs(settings)):
        collector = asyncio.create_task(collect(settings, run))
        await publish(settings, rate, run)
        await asyncio.sleep(3)
        collector.cancel()
    return run


def main() -> None:
    """Find the full load, then measure at half of it."""
    with broker() as bootstrap:
        asyncio.run(full_load(bootstrap))
        full = asyncio.run(full_load(bootstrap))
        run = asyncio.run(half_load(bootstrap, full / 2))
    latencies = np.array(run.latencies())
    if len(latencies) < VICTIMS:
        raise SystemExit(f"only {len(latencies)} of {VICTIMS} recommendations came: there is no latency to report")
    quantiles = {f"p{q}_s": round(float(np.percentile(latencies, q)), 3) for q in (50, 90, 99)}
    figures = {"full_load_k_per_s": round(full / 1000, 1), "recommendations": len(latencies), **quantiles}
    report("latency", figures | {"max_s": round(float(latencies.max()), 3)})


if __name__ == "__main__":
    main()
