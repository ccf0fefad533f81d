"""`make tutorial`: export, train, evaluate, shadow, promote, revert, on the generated system and an embedded broker.

Nine days of samples in a few minutes; every command is printed, and what it says. What is left is in build/tutorial.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from rich.console import Console

from benchmarks.harness import broker
from pipeline.records import cloudevent_headers, to_ms
from pipeline.registry.store import Store
from pipeline.runtime.drained import drained
from pipeline.runtime.stages import build_specs
from pipeline.settings import load_settings
from pipeline.sources.columnar import COLUMNAR_CONTENT_TYPE, encode_columnar
from pipeline.sources.duri_system import DuriSystem, Plan
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.settings import Settings

FOLDER = Path("build/tutorial")
MODEL = "services-forest"
SYSTEM = DuriSystem(Plan(days=9, step_s=60))
DAY_MS = 86_400_000
LEARNED_DAYS = 7
"""Exported and trained on: of three days the threshold's part is so short that it lies above all that was seen. The
days after, the last with its faults, are the shadow's.
"""
CONSOLE = Console(width=120)


def duri(*words: str) -> None:
    """Print the command, and run it."""
    CONSOLE.print(f"\n[bold]$ duri {shlex.join(words)}[/bold]", highlight=False)
    named = () if words[:2] == ("dataset", "describe") else ("--config", str(FOLDER / "duri.yaml"))
    environment = os.environ | {"COLUMNS": "120"}
    done = subprocess.run([sys.executable, "-m", "pipeline", *words, *named], env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"the command failed with exit status {done.returncode}")


@contextmanager
def worker() -> Iterator[None]:
    """`duri run` in the background."""
    with (FOLDER / "worker.log").open("wb") as log:
        command = [sys.executable, "-m", "pipeline", "run", "--config", str(FOLDER / "duri.yaml")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            while process.poll() is None and b'"ready"' not in (FOLDER / "worker.log").read_bytes():
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait()


async def flow(settings: Settings, first: int, end: int) -> None:
    """Publish these days of samples and what operators did, and wait until the workers are through."""
    begin = to_ms(SYSTEM.plan.start)
    metrics, control = (settings.topics.name(topic) for topic in (Topic.METRICS, Topic.CONTROL))
    headers = [("content-type", COLUMNAR_CONTENT_TYPE.encode())]
    blocks = dropwhile(lambda block: block.ts[0] < begin + first * DAY_MS, SYSTEM.blocks(600.0))
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        for event in SYSTEM.changes():
            if first <= (to_ms(event.at) - begin) // DAY_MS < end:
                said = cloudevent_headers(event.event_type(), "/deployer", event.id, to_ms(event.at))
                await producer.send_and_wait(control, event.model_dump_json().encode(), headers=said)
        for block in takewhile(lambda block: block.ts[0] < begin + end * DAY_MS, blocks):
            await producer.send_and_wait(metrics, encode_columnar(block), headers=headers, partition=0)
    await drained(settings, build_specs(settings))


def main() -> None:
    """The whole path."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    data, registry = str(FOLDER / "data"), str(FOLDER / "models")
    with broker() as bootstrap:
        sections = {
            "kafka": {"bootstrap": bootstrap},
            "topics": {"metrics_partitions": 1, "samples_partitions": 2},
            # History of years ago, fast: idle partitions must not move event time on by the wall clock.
            "runtime": {"http_port": 0, "log_format": "json", "tick_after_s": 3600},
            "models": {"registry": registry},
        }
        (FOLDER / "duri.yaml").write_text(json.dumps(sections, indent=1), encoding="utf-8")
        settings = load_settings(FOLDER / "duri.yaml")
        duri("topics", "create")
        with worker():
            CONSOLE.print(f"\n(`duri run` works; {LEARNED_DAYS} days of samples flow)")
            asyncio.run(flow(settings, 0, LEARNED_DAYS))
            path(settings, data)


def path(settings: Settings, data: str) -> None:
    """From the log to a live model and back."""
    duri("dataset", "export", "--out", data)
    duri("dataset", "describe", data)
    duri("train", "isolation_forest", "--data", data)
    [version] = Store(settings.models.registry).versions(MODEL)
    duri("backtest", data, "--output", str(FOLDER / "backtest"), "--model", f"{MODEL}/{version}", "--against", "none",
         "--plots")  # fmt: skip
    duri("models", "shadow", MODEL, version, "--why", "tutorial")
    CONSOLE.print("\n(two more days of samples flow, with faults on the second)")
    asyncio.run(flow(settings, LEARNED_DAYS, SYSTEM.plan.days))
    duri("models", "shadow", MODEL)
    duri("dataset", "export", "--out", data)
    duri("evaluate", MODEL, version, "--data", data, "--out", str(FOLDER / "evaluation"))
    duri("models", "promote", MODEL, version, "--why", "tutorial")
    duri("models", "list")
    duri("models", "revert", MODEL, "--why", "the tutorial ends")
    duri("models", "show", MODEL)
    CONSOLE.print(f"\nThe model card: {settings.models.registry}/models/{MODEL}/{version}/card.md")
    CONSOLE.print(f"Plot of the backtest: {FOLDER}/backtest/comparison.png")


if __name__ == "__main__":
    main()
