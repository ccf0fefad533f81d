"""`duri bridge prometheus` as a program of its own, and what it must have published."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import requests

from tests.metrics_topic import read_rows

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.settings import Settings
    from tests.prometheus_server import PrometheusServer

_PATIENCE_S = 90.0


def start_bridge(settings: Settings, url: str, folder: Path) -> subprocess.Popen[str]:
    """A bridge of the job `shop` that reads often; its settings file is written into `folder`."""
    config = folder / "duri.yaml"
    config.write_text(f"topics: {{prefix: '{settings.topics.prefix}'}}\n")
    return subprocess.Popen(
        [
            sys.executable, "-m", "pipeline", "bridge", "prometheus", "--url", url, "--match", '{job="shop"}',
            "--step", "300ms", "--delay", "1s", "--since", "1m",
            "--config", str(config), "--bootstrap", settings.kafka.bootstrap,
        ],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(settings: Settings, ts: int) -> None:
    """Wait until a sample later than this is published."""
    ends = time.monotonic() + _PATIENCE_S
    while not any(row.ts > ts for row in asyncio.run(read_rows(settings))):
        assert time.monotonic() < ends, "the bridge publishes nothing"
        time.sleep(0.2)


def held_by(server: PrometheusServer, end_ms: int) -> set[tuple[str, int, float]]:
    """(name, ts, value) of everything that the server holds up to then, asked without our code."""
    answer = requests.get(
        f"{server.url}/api/v1/query", params={"query": '{job="shop"}[10m]', "time": end_ms / 1000}, timeout=10
    )
    return {
        (entry["metric"]["__name__"], round(ts * 1000), float(value))
        for entry in answer.json()["data"]["result"]
        for ts, value in entry["values"]
    }


def assert_published_once(settings: Settings, server: PrometheusServer, end_ms: int, *, at_least: int) -> None:
    """What is published up to then is what the server holds, each sample once."""
    held = held_by(server, end_ms)
    rows = [row for row in asyncio.run(read_rows(settings)) if row.ts <= end_ms]
    assert len(rows) == len(set(rows))
    assert {(row.name, row.ts, row.value) for row in rows} == held
    assert len(held) >= at_least
