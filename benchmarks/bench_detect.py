"""Detect from real `duri.samples`, exactly once, 100,000 series; and the learners' kernel alone.

`gauges`: raw gauges, each watched by a learner. `services`: what 1,163 services of the demo's kind report (HTTP
histograms, containers, PostgreSQL, Redis), so signals, rules, learners on signals and frames. Figures are thousands of
samples a CPU second of this process, snapshots included. `kernel` is the learner bank on gauges in the same run.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import Message, broker, drain, fill, fresh_settings, make_topics, median, report, topic_name
from models.online.bank import Bank
from pipeline.batch import ARRIVAL_HEADER, ARROW_CONTENT_TYPE, SOURCE_HEADER, encode_batch, make_batch
from pipeline.runtime.memory import collect_seldom
from pipeline.series import SERVICE_LABEL, Kind, Series
from pipeline.sources.duri_system import DuriSystem, Plan
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

SERIES = 100_000
SERVICES = 100
SCRAPES = 40
STEP_S = 15
ROWS = 5_000
PARTITIONS = 4
ROUNDS = 3
START = 1_767_225_600_000

Fleet = tuple[list[Series], "Iterator[npt.NDArray[np.float64]]"]
"""Series in the order of their partitions, and for each scrape the value of each."""


def gauges() -> Fleet:
    """A hundred thousand noisy gauges."""
    rng = np.random.default_rng(0)
    series = [
        Series(
            name="queue_depth",
            labels={SERVICE_LABEL: f"service-{i * SERVICES // SERIES}", "i": str(i)},
            kind=Kind.GAUGE,
            unit="",
        )
        for i in range(SERIES)
    ]
    level = rng.uniform(10, 1000, SERIES)
    return series, (level * (1 + 0.05 * rng.standard_normal(SERIES)) for _ in range(SCRAPES))


def services() -> Fleet:
    """Copies of one healthy service of the demo's generator under other names."""
    [block, *_] = DuriSystem(Plan(days=1, step_s=STEP_S, faults=())).services
    copies = SERIES // len(block.series)
    series = [
        Series(name=one.name, labels=one.labels | {SERVICE_LABEL: f"service-{copy}"}, kind=one.kind, unit=one.unit)
        for copy in range(copies)
        for one in block.series
    ]
    return series, (np.tile(block.value[scrape], copies) for scrape in range(SCRAPES))


def messages(fleet: Fleet, source: str) -> list[Message]:
    """So many scrapes of the fleet, in batches of 5,000 rows."""
    series, scrapes = fleet
    identities = np.array([one.identity() for one in series], dtype=np.uint64)
    labels = [one.canonical() for one in series]
    result: list[Message] = []
    for scrape, values in enumerate(scrapes):
        now = START + scrape * STEP_S * 1000
        headers = [
            ("content-type", ARROW_CONTENT_TYPE.encode()),
            (SOURCE_HEADER, source.encode()),
            (ARRIVAL_HEADER, str(now).encode()),
        ]
        for begin in range(0, len(series), ROWS):
            rows = slice(begin, min(begin + ROWS, len(series)))
            batch = make_batch(identities[rows], np.full(rows.stop - begin, now), values[rows], labels[rows])
            result.append((begin * PARTITIONS // len(series), encode_batch(batch), headers))
    return result


def kernel() -> float:
    """Samples a second (CPU) of the bank alone, on the gauges."""
    series, scrapes = gauges()
    bank = Bank()
    bank.grow(len(series))
    slots = np.arange(len(series), dtype=np.int32)
    rates = []
    for scrape, values in enumerate(scrapes):
        ts = np.full(len(series), START + scrape * STEP_S * 1000)
        cpu = time.process_time()
        bank.score_learn(slots, ts, values)
        rates.append(len(series) / (time.process_time() - cpu))
    return median(rates[5:])


async def drained(bootstrap: str, fleet: Fleet) -> float:
    """Thousands of samples of the fleet that detect takes from a full topic in a CPU second."""
    # One source, so that no partition waits for others that this benchmark does not have.
    settings = fresh_settings(bootstrap, **{"topics.metrics_partitions": 1})
    await make_topics(settings)
    samples = len(fleet[0]) * SCRAPES
    topic = topic_name(settings, Topic.SAMPLES)
    await fill(settings, topic, messages(fleet, f"{topic_name(settings, Topic.METRICS)}/0"))
    cost = await drain(settings, "detect", topic)
    return samples / cost.cpu / 1000


def one_round(bootstrap: str) -> dict[str, float]:
    """All figures once."""
    return {
        "gauges_k_per_cpu_s": asyncio.run(drained(bootstrap, gauges())),
        "services_k_per_cpu_s": asyncio.run(drained(bootstrap, services())),
        "kernel_k_per_cpu_s": kernel() / 1000,
    }


def main() -> None:
    """Run all rounds; medians."""
    collect_seldom()
    with broker() as bootstrap:
        one_round(bootstrap)  # compiles kernels, warms the broker
        rounds = [one_round(bootstrap) for _ in range(ROUNDS)]
    figures = {name: round(median([one[name] for one in rounds]), 1) for name in rounds[0]}
    report("detect", {**figures, "series": SERIES, "learner_bytes_per_series": Bank().bytes_per_series})


if __name__ == "__main__":
    main()
