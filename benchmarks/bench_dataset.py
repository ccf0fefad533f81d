"""Export from real Kafka to Parquet: samples a CPU second, and the memory it takes for a range and for half of it.

`duri.samples` is filled as ingest fills it: Arrow messages of whole services' scrapes (15 s), over four partitions.
The export of half the range reads the whole log too (what is old may stand at its end) and writes half of it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.bench_detect import PARTITIONS, ROWS, START, services
from benchmarks.harness import Message, broker, fill, fresh_settings, make_topics, report, topic_name
from pipeline.batch import ARROW_CONTENT_TYPE, encode_batch, make_batch
from pipeline.stage import Topic

if TYPE_CHECKING:
    from pipeline.settings import Settings

STEP_MS = 15_000
SCRAPES = 80


def messages() -> list[Message]:
    """Scrapes of a hundred thousand series, as ingest writes them."""
    series, scrapes = services()
    identities = np.array([one.identity() for one in series], dtype=np.uint64)
    labels = [one.canonical() for one in series]
    values = list(scrapes)
    headers = [("content-type", ARROW_CONTENT_TYPE.encode())]
    found: list[Message] = []
    for scrape in range(SCRAPES):
        for begin in range(0, len(series), ROWS):
            rows = slice(begin, min(begin + ROWS, len(series)))
            ts = np.full(rows.stop - begin, START + scrape * STEP_MS)
            batch = make_batch(identities[rows], ts, values[scrape % len(values)][rows], labels[rows])
            found.append((begin * PARTITIONS // len(series), encode_batch(batch), headers))
    return found


def exported(settings: Settings, scrapes: int) -> dict[str, float]:
    """Figures of an export of so many scrapes, in a process of its own: its memory is its own."""
    arguments = (settings.model_dump_json(), str(START + scrapes * STEP_MS))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.export_once", *arguments], check=True, capture_output=True, text=True
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Half of the range, then all of it."""
    with broker() as bootstrap:
        settings = fresh_settings(bootstrap)
        asyncio.run(make_topics(settings))
        asyncio.run(fill(settings, topic_name(settings, Topic.SAMPLES), messages()))
        half, whole = exported(settings, SCRAPES // 2), exported(settings, SCRAPES)
    report("dataset", {**whole, "half": half})


if __name__ == "__main__":
    main()
