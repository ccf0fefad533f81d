"""Start-up of `duri run` on an empty installation: from the start of the process until /readyz says so, seconds.

`cold_s` once, without numba's cache, as on the first start after an installation; `warm_s` the median of five with it.
After that no message waits for a kernel. The processes' resident memory is looked at five seconds later.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from typing import TYPE_CHECKING, NamedTuple

import psutil

from benchmarks.harness import broker, fresh_settings, make_topics, median, report
from lab.backends import free_port

if TYPE_CHECKING:
    from pipeline.settings import Settings

WARM = 5
ASKED_S = 3.0
_SETTLED_S = 5.0
_PATIENCE_S = 600.0


class Started(NamedTuple):
    """What a start took, and what the process is then."""

    seconds: float
    resident_mb: float


def start(settings: Settings, cache: str) -> Started:
    """Start a worker, wait until it is ready, and end it."""
    port = free_port()
    environment = os.environ | {
        "DURI_BOOTSTRAP": settings.kafka.bootstrap,
        "DURI_TOPICS__PREFIX": settings.topics.prefix,
        "DURI_RUNTIME__GROUP": settings.runtime.group,
        "DURI_RUNTIME__HTTP_PORT": str(port),
        "NUMBA_CACHE_DIR": cache,
    }
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", "run"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as worker:
        try:
            while not _ready(port):
                if worker.poll() is not None or time.perf_counter() - began > _PATIENCE_S:
                    raise SystemExit(f"the worker was not ready within {_PATIENCE_S:.0f} s")
                time.sleep(0.01)
            took = time.perf_counter() - began
            time.sleep(_SETTLED_S)
            return Started(took, psutil.Process(worker.pid).memory_info().rss / 1e6)
        finally:
            worker.terminate()


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except OSError:
        return False


def main() -> None:
    """Measure and print one line."""
    with broker() as bootstrap, tempfile.TemporaryDirectory() as cache:
        settings = fresh_settings(bootstrap)
        asyncio.run(make_topics(settings))
        cold = start(settings, cache)
        warm = [start(settings, cache) for _ in range(WARM)]
    report(
        "start",
        {
            "cold_s": round(cold.seconds, 1),
            "cold_idle_mb": round(cold.resident_mb),
            "warm_s": round(median([one.seconds for one in warm]), 2),
            "warm_idle_mb": round(median([one.resident_mb for one in warm])),
            "asked_warm_s": ASKED_S,
        },
    )


if __name__ == "__main__":
    main()
