"""One export in a process of its own, for `bench_dataset`: its cost and its peak of memory as one line of JSON."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
import time
from pathlib import Path

from pipeline.offline.dataset.kafka import export
from pipeline.offline.dataset.staging import Request
from pipeline.offline.dataset.tables import Table
from pipeline.settings import Settings


def peak_mb() -> float:
    """Most memory that was resident since the program was loaded (Linux)."""
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(kilobytes) / 1024


def main() -> None:
    """Settings as JSON, and the end of the range in ms, as arguments."""
    settings, end = Settings.model_validate_json(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        cpu, wall = time.process_time(), time.perf_counter()
        manifest = asyncio.run(export(settings, Path(folder) / "data", Request(source="kafka", end=end)))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    rows = manifest.rows(Table.SAMPLES)
    figures = {
        "samples": rows,
        "k_per_cpu_s": rows / cpu / 1000,
        "k_per_s": rows / wall / 1000,
        "peak_mb": peak_mb(),
        "bytes_per_sample": sum(file.bytes for file in manifest.files) / rows,
    }
    sys.stdout.write(json.dumps({name: round(figure, 1) for name, figure in figures.items()}))


if __name__ == "__main__":
    main()
