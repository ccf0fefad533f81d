"""Detect from real `duri.samples`: 100,000 series through learners, exactly once; and the kernels alone.

Figures are thousands of samples a CPU second of this process, snapshots included. `kernel` is the learner bank on the
same samples in the same run, without Kafka.
"""

from __future__ import annotations

import asyncio
import time

import numpy as np

from benchmarks.harness import Message, broker, drain, fill, fresh_settings, make_topics, median, report, topic_name
from models.online.bank import Bank
from pipeline.batch import ARRIVAL_HEADER, ARROW_CONTENT_TYPE, SOURCE_HEADER, encode_batch, make_batch
from pipeline.series import Kind, Series
from pipeline.stage import Topic

SERIES = 100_000
SERVICES = 100
SCRAPES = 40
STEP_MS = 15_000
ROWS = 5_000
PARTITIONS = 4
ROUNDS = 3


def messages(now: int, source: str) -> list[Message]:
    """So many scrapes of all series, in batches of 5,000 rows, each service in one partition."""
    rng = np.random.default_rng(0)
    series = [
        Series(name="queue_depth", labels={"service": f"service-{i % SERVICES}", "i": str(i)}, kind=Kind.GAUGE, unit="")
        for i in range(SERIES)
    ]
    order = np.argsort(np.arange(SERIES) % SERVICES % PARTITIONS, kind="stable")
    identities = np.array([series[i].identity() for i in order], dtype=np.uint64)
    labels = [series[i].canonical() for i in order]
    level = rng.uniform(10, 1000, SERIES)
    result: list[Message] = []
    for scrape in range(SCRAPES):
        ts = np.full(ROWS, now + scrape * STEP_MS, dtype=np.int64)
        for begin in range(0, SERIES, ROWS):
            rows = slice(begin, begin + ROWS)
            value = level[rows] * (1 + 0.05 * rng.standard_normal(ROWS))
            partition = begin * PARTITIONS // SERIES
            headers = [
                ("content-type", ARROW_CONTENT_TYPE.encode()),
                (SOURCE_HEADER, source.encode()),
                (ARRIVAL_HEADER, str(int(ts[0])).encode()),
            ]
            result.append((partition, encode_batch(make_batch(identities[rows], ts, value, labels[rows])), headers))
    return result


def kernel() -> float:
    """Samples a second (CPU) of the bank alone."""
    rng = np.random.default_rng(0)
    bank = Bank()
    bank.grow(SERIES)
    slots = np.arange(SERIES, dtype=np.int32)
    level = rng.uniform(10, 1000, SERIES)
    values = [level * (1 + 0.05 * rng.standard_normal(SERIES)) for _ in range(SCRAPES)]
    rates = []
    for scrape in range(SCRAPES):
        cpu = time.process_time()
        bank.score_learn(slots, np.full(SERIES, scrape * STEP_MS, dtype=np.int64), values[scrape])
        rates.append(SERIES / (time.process_time() - cpu))
    return median(rates[5:])


async def one_round(bootstrap: str) -> dict[str, float]:
    """Fill a topic, drain it through detect."""
    settings = fresh_settings(bootstrap, **{"topics.metrics_partitions": 1})
    await make_topics(settings)
    metrics = topic_name(settings, Topic.METRICS)
    # One source, so that no partition waits for others that this benchmark does not have.
    await fill(settings, topic_name(settings, Topic.SAMPLES), messages(1_767_225_600_000, f"{metrics}/0"))
    cost = await drain(settings, "detect", topic_name(settings, Topic.SAMPLES))
    return {
        "detect_k_per_cpu_s": SERIES * SCRAPES / cost.cpu / 1000,
        "detect_k_per_wall_s": SERIES * SCRAPES / cost.wall / 1000,
        "kernel_k_per_cpu_s": kernel() / 1000,
    }


def main() -> None:
    """Run all rounds; medians."""
    with broker() as bootstrap:
        asyncio.run(one_round(bootstrap))
        rounds = [asyncio.run(one_round(bootstrap)) for _ in range(ROUNDS)]
    figures = {name: round(median([one[name] for one in rounds]), 1) for name in rounds[0]}
    report("detect", {**figures, "series": SERIES, "learner_bytes_per_series": Bank().bytes_per_series})


if __name__ == "__main__":
    main()
