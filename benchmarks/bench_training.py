"""Training the shipped recipes on ten million frame rows: 30 days of 8 services with 29 signals.

The ranker learns from answers: 20,000 anomalies in these days, of which people reject what comes at night and confirm
two thirds of the others.

Of each recipe, in a process of its own: seconds of CPU and wall time, peak memory, and what its card says: F1 (of
a ranker on answers, of priors on first days, else on injected anomalies), where the interval of what it adds to none
begins, and its false alarms; of a band its coverage.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.export_once import peak_mb
from benchmarks.frames import START, write_frames
from benchmarks.harness import report
from pipeline.configfile import shipped_config
from pipeline.offline.dataset.staging import Request
from pipeline.offline.dataset.tables import SCHEMAS, Table
from pipeline.offline.dataset.writer import Rows, adding
from pipeline.offline.training.recipe import load_recipe
from pipeline.offline.training.train import train
from pipeline.registry.store import Store

RECIPES = ("isolation_forest", "pca", "band", "priors", "ranker")
TOLD = ("f1", "f1_over_none_low", "false_alarms_per_service_day", "coverage")
ANSWERS = 20_000
SERVICES, SIGNALS, DAYS = 8, 29, 30


def generate(folder: Path, services: int = SERVICES, signals: int = SIGNALS, days: int = DAYS) -> int:
    """Signals that follow a service's daily load, each with its own noise; how many rows."""
    rng = np.random.default_rng(0)
    minutes = np.arange(days * 1440)
    names = [f"signal.{signal:02d}" for signal in range(signals)]
    with adding(folder, Request(source="csv")) as writer:
        for service in range(services):
            load = 1 + 0.4 * np.sin(2 * np.pi * minutes / 1440 + service)
            write_frames(writer, f"service-{service}", names, np.stack([_signal(load, rng) for _ in names], axis=1))
        for name, rows in answers(ANSWERS, days, rng).items():
            nothing = np.zeros(len(rows), dtype=np.int64)
            answered = pa.Table.from_pylist(rows, schema=SCHEMAS[name])
            writer.write(Rows(name, answered, nothing.astype(np.int32), nothing))
        writer.checkpoint(complete=True)
        writer.publish()
    return services * signals * len(minutes)


def _signal(load: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_t(5, len(load)) * rng.uniform(0.01, 0.1)
    return np.asarray(load ** rng.uniform(0.2, 1.5) * rng.uniform(0.1, 1000) * (1 + noise))


def answers(count: int, days: int, rng: np.random.Generator) -> dict[Table, list[dict[str, Any]]]:
    """Anomalies of a service that lies in no frame, the advice on each, and what people said of it."""
    found: dict[Table, list[dict[str, Any]]] = {
        name: [] for name in (Table.ANOMALIES, Table.RECOMMENDATIONS, Table.FEEDBACK)
    }
    for number, minute in enumerate(np.sort(rng.integers(0, days * 1440, count)).tolist()):
        at = START + minute * 60_000
        right = minute % 1440 > 360 and rng.random() < 2 / 3
        anomaly = {"timestamp": at, "id": f"a{number}", "state": "opened", "severity": "warning", "service": "answered"}
        anomaly |= {"signal": f"signal.{number % 29:02d}", "opened_at": at, "last_at": at + 600_000, "direction": "up"}
        anomaly |= {"score": rng.uniform(0.6, 1.0), "observed": 8.0, "expected": 2.0, "lower": 1.0, "upper": 3.0}
        found[Table.ANOMALIES].append(anomaly | {"detectors": ["learned"], "record": json.dumps({"shape": "spike"})})
        found[Table.RECOMMENDATIONS].append(
            {"timestamp": at, "id": f"r{number}", "anomalies": [f"a{number}"], "record": ""}
        )
        said = {"recommendation": f"r{number}", "verdict": "applied" if right else "rejected", "record": ""}
        found[Table.FEEDBACK].append({"timestamp": at, "id": f"f{number}", **said})
    return found


def measured(recipe: str, folder: str) -> dict[str, float]:
    """One training."""
    cpu, wall = time.process_time(), time.perf_counter()
    trained = train(folder, load_recipe(recipe, shipped_config()), Store(f"{folder}-registry"))
    metrics = trained.manifest.metrics
    return {
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - wall,
        "peak_mb": peak_mb(),
        **{name: metrics[name] for name in TOLD if name in metrics},
    }


def main() -> None:
    """With a recipe and a folder: that training. Without: all of them, one after the other."""
    if len(sys.argv) > 1:
        sys.stdout.write(json.dumps(measured(*sys.argv[1:3])))
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        figures: dict[str, Any] = {"frame_rows": generate(data)}
        for recipe in RECIPES:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.bench_training", recipe, str(data)],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            figures[recipe] = {name: round(value, 3) for name, value in json.loads(done.stdout).items()}
        one_by_one = [figures[recipe] for recipe in RECIPES]
        figures["all_wall_s"] = round(sum(each["wall_s"] for each in one_by_one), 1)
        figures["all_peak_mb"] = max(each["peak_mb"] for each in one_by_one)
    report("training", figures)


if __name__ == "__main__":
    main()
