"""Ingest from real Kafka to real Kafka, transactionally, against the ceiling of reading and decoding alone.

Figures are thousands of samples a CPU second of this process, for single samples of many services and for each format
of `benchmarks.messages`; `share_of_decoding` compares with decoding the same messages to columns in the same run.
`ceiling` is `getmany` plus msgspec decoding into a struct, nothing kept; it and ingest read the same messages.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.bench_formats import known
from benchmarks.harness import Message, broker, drain, fill, fresh_settings, make_topics, median, report, topic_name
from benchmarks.messages import CASES
from pipeline.runtime.memory import collect_seldom
from pipeline.stage import Topic

if TYPE_CHECKING:
    from benchmarks.messages import Case
    from pipeline.settings import Settings

SINGLES = 400_000
SAMPLES = 2_000_000
SERVICES = 50
SERIES = 1_000
ROUNDS = 3


class Sample(msgspec.Struct, gc=False):
    """What the ceiling decodes into."""

    name: str
    ts: int
    value: float
    labels: dict[str, str]


def labels(one: int) -> dict[str, str]:
    """Labels of one of the series."""
    return {"service": f"service-{one % SERVICES}", "instance": f"i-{one:04d}", "method": "GET", "status": "200"}


def singles(now: int) -> list[Message]:
    """One JSON sample a message, some 150 bytes."""
    texts = [json.dumps(labels(one)).encode() for one in range(SERIES)]
    return [
        (
            at % 4,
            b'{"name":"http_requests_total","labels":%s,"ts":%d,"value":%d}'
            % (texts[at % SERIES], now + at // SERIES, at),
            [],
        )
        for at in range(SINGLES)
    ]


async def ceiling(settings: Settings, topic: str, messages: int) -> float:
    """CPU seconds for reading and decoding all messages, keeping nothing."""
    decode = msgspec.json.Decoder(Sample).decode
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap, enable_auto_commit=False, max_partition_fetch_bytes=4 << 20
    ) as reader:
        parts = [TopicPartition(topic, p) for p in range(4)]
        reader.assign(parts)
        await reader.seek_to_beginning(*parts)
        seen, cpu = 0, time.process_time()
        while seen < messages:
            for records in (await reader.getmany(timeout_ms=1000, max_records=20_000)).values():
                for record in records:
                    decode(record.value)
                seen += len(records)
        return time.process_time() - cpu


async def singles_round(bootstrap: str) -> dict[str, float]:
    """Single samples of many services, and the ceiling, on topics of their own."""
    settings = fresh_settings(bootstrap)
    await make_topics(settings)
    topic = topic_name(settings, Topic.METRICS)
    await fill(settings, topic, singles(int(time.time() * 1000)))
    base = await ceiling(settings, topic, SINGLES)
    cost = await drain(settings, "ingest", topic)
    return {
        "ceiling_k_per_cpu_s": SINGLES / base / 1000,
        "singles_k_per_cpu_s": SINGLES / cost.cpu / 1000,
        "singles_share_of_ceiling": base / cost.cpu,
    }


async def format_round(bootstrap: str, name: str, case: Case) -> dict[str, float]:
    """Messages of one format through ingest, and how much of the rate of decoding alone that is."""
    now = int(time.time() * 1000)
    messages = case.make(now, SINGLES if case.samples == 1 else SAMPLES // case.samples)
    settings = fresh_settings(bootstrap)
    await make_topics(settings)
    topic = topic_name(settings, Topic.METRICS)
    await fill(settings, topic, [(at % 4, payload, []) for at, payload in enumerate(messages)])
    decoding, records = known(case, messages, now)
    samples = len(messages) * case.samples
    alone = decoding.rate(records, samples)
    cost = await drain(settings, "ingest", topic)
    return {
        f"{name}_k_per_cpu_s": samples / cost.cpu / 1000,
        f"{name}_share_of_decoding": samples / cost.cpu / alone,
    }


async def one_round(bootstrap: str) -> dict[str, float]:
    """Everything once."""
    figures = await singles_round(bootstrap)
    for name, case in CASES.items():
        figures.update(await format_round(bootstrap, name, case))
    return figures


def main() -> None:
    """Run all rounds, with the collector as `duri run` sets it, for ingest and ceiling alike; medians."""
    collect_seldom()
    with broker() as bootstrap:
        asyncio.run(one_round(bootstrap))  # compiles kernels, warms the broker
        rounds = [asyncio.run(one_round(bootstrap)) for _ in range(ROUNDS)]
    report("ingest", {name: round(median([one[name] for one in rounds]), 3) for name in rounds[0]})


if __name__ == "__main__":
    main()
