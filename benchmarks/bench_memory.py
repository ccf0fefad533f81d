"""Memory: an idle worker with all stages in a process of its own, and detect's state a series.

The idle worker is `duri run` on an empty installation, looked at 15 s after it is ready. State a series is what the
process grows by when detect takes a hundred thousand series, and what their snapshot holds, uncompressed.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time

import numpy as np
import psutil

from benchmarks.harness import broker, fresh_settings, make_topics, report, resident_mb
from pipeline.batch import ARROW_CONTENT_TYPE, SOURCE_HEADER, encode_batch, make_batch
from pipeline.detect.configuration import load_detection
from pipeline.detect.stage import DetectStage
from pipeline.runtime.memory import give_large_arrays_back
from pipeline.series import Kind, Series
from pipeline.settings import Settings, load_settings
from pipeline.stage import LogRecord

SERIES = 100_000
SCRAPES = 30
ROWS = 5_000


def idle_worker(settings: Settings) -> float:
    """Resident MB of an idle `duri run`."""
    environment = os.environ | {
        "DURI_BOOTSTRAP": settings.kafka.bootstrap,
        "DURI_TOPICS__PREFIX": settings.topics.prefix,
        "DURI_RUNTIME__GROUP": settings.runtime.group,
        "DURI_RUNTIME__HTTP_PORT": "0",
    }
    worker = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "run"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(25)
        return float(psutil.Process(worker.pid).memory_info().rss / 1e6)
    finally:
        worker.terminate()
        worker.wait(30)


def state_a_series() -> dict[str, float]:
    """Bytes of growth and of snapshot for each series."""
    settings = load_settings()
    configuration = load_detection(settings.config_dir, settings.detect, partitions=1)
    stage = DetectStage(configuration, input_topic="duri.samples", partition=0, sources=["duri.metrics/0"])
    rng = np.random.default_rng(0)
    headers = [("content-type", ARROW_CONTENT_TYPE.encode()), (SOURCE_HEADER, b"duri.metrics/0")]
    every = [
        Series(name="queue_depth", labels={"service": f"service-{i % 100}", "i": str(i)}, kind=Kind.GAUGE, unit="")
        for i in range(SERIES)
    ]
    identities = np.array([one.identity() for one in every], dtype=np.uint64)
    labels = [one.canonical() for one in every]
    del every
    gc.collect()
    before = resident_mb()
    for scrape in range(SCRAPES):
        ts = np.full(ROWS, 1_767_225_600_000 + scrape * 60_000, dtype=np.int64)
        for begin in range(0, SERIES, ROWS):
            rows = slice(begin, begin + ROWS)
            batch = make_batch(identities[rows], ts, rng.normal(50, 2, ROWS), labels[rows])
            stage.step([LogRecord("duri.samples", 0, scrape, int(ts[0]), None, encode_batch(batch), headers)])
    gc.collect()
    growth = resident_mb() - before
    parts = stage.snapshot().values()
    held = sum(part.nbytes if isinstance(part, np.ndarray) else len(part) for part in parts)
    return {"growth_bytes_per_series": growth * 1e6 / SERIES, "snapshot_bytes_per_series": held / SERIES}


def main() -> None:
    """Measure both."""
    give_large_arrays_back()
    figures = state_a_series()
    with broker() as bootstrap:
        settings = fresh_settings(bootstrap)
        asyncio.run(make_topics(settings))
        figures["idle_worker_mb"] = idle_worker(settings)
    report("memory", {name: round(value, 1) for name, value in figures.items()} | {"series": SERIES})


if __name__ == "__main__":
    main()
