"""A backtest of all three stages over a dataset of 1,000 series at one minute: by one process, and by two.

The dataset is twelve services of the demo's kind (HTTP histograms, containers, PostgreSQL, Redis) with its four faults
on the last day. `k_per_cpu_s` counts one process that does all; the month is what two processes and the one that
advises take: of `--days 30` as it is, of fewer days as many times as long, the start of the processes included.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.harness import report
from pipeline.offline.backends import Backend, Workers
from pipeline.offline.dataset.reading import Dataset
from pipeline.offline.dataset.recordings import add_recording
from pipeline.offline.dataset.staging import Request
from pipeline.offline.dataset.tables import Table
from pipeline.offline.dataset.writer import adding
from pipeline.offline.dataset_backtest import backtest
from pipeline.series import SERVICE_LABEL, Series
from pipeline.settings import load_settings
from pipeline.sources.duri_system import DuriSystem, Plan
from pipeline.sources.recording import Recording

DAYS = 3
COPIES = 3
MONTH = 1_000 * 1_440 * 30


def generate(folder: Path, days: int = DAYS) -> Dataset:
    """Copies of the generated system under other names."""
    system = DuriSystem(Plan(days=days, step_s=60.0))
    with adding(folder, Request(source="csv")) as writer:
        for copy in range(COPIES):
            for block in system.services:
                name = f"{block.key}-{copy}"
                series = [
                    Series(name=one.name, labels=one.labels | {SERVICE_LABEL: name}, kind=one.kind, unit=one.unit)
                    for one in block.series
                ]
                scrape, index = np.nonzero(~np.isnan(block.value))
                add_recording(writer, Recording(series, index, block.ts[scrape], block.value[scrape, index]))
        writer.checkpoint(complete=True)
        writer.publish()
    return Dataset(folder)


def main() -> None:
    """Once to compile the kernels, then one process, then two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=DAYS)
    days = parser.parse_args().days
    settings = load_settings()
    with tempfile.TemporaryDirectory() as folder:
        dataset = generate(Path(folder) / "data", days)
        samples = dataset.manifest.rows(Table.SAMPLES)
        out = Path(folder) / "out"
        start = dataset.span.start
        backtest(
            dataset, settings, out, workers=Workers(Backend.SERIAL), span=dataset.span._replace(end=start + 600_000)
        )
        cpu = time.process_time()
        backtest(dataset, settings, out, workers=Workers(Backend.SERIAL))
        cpu = time.process_time() - cpu
        wall = time.perf_counter()
        backtest(dataset, settings, out, workers=Workers(Backend.PROCESSES, 2))
        wall = time.perf_counter() - wall
    figures = {
        "samples": samples,
        "days": days,
        "k_per_cpu_s": round(samples / cpu / 1000, 1),
        "two_processes_k_per_s": round(samples / wall / 1000, 1),
        "month_of_1000_series_s": round(MONTH * wall / samples, 1),
    }
    report("backtest", figures)


if __name__ == "__main__":
    main()
