"""What one retraining with feedback is worth on a generated labelled year: precision at equal recall.

`benchmarks.year` describes the year. The three stages run over all of it; people answer what detect raised in the
first two thirds; the shipped ranker is trained on these answers alone, and both orders, detect's score and the
ranker, are compared on the last third, which nothing of the training has seen. Recall is that of incidents: one is
found by the first of its anomalies. A line for each seed as soon as it is known, and one with their median:

    python -m benchmarks.value SEED…
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import report
from benchmarks.year import ANSWERED, START, STEP, Year, generate, overlaps
from models.evaluation import DAY_MS
from models.offline.anomaly_features import of_anomalies
from pipeline.configfile import shipped_config
from pipeline.offline.backends import Backend, Workers
from pipeline.offline.dataset.columns import Window
from pipeline.offline.dataset.reading import Dataset
from pipeline.offline.dataset.record_rows import RecordRows
from pipeline.offline.dataset.recordings import add_recording
from pipeline.offline.dataset.staging import Request
from pipeline.offline.dataset.tables import SCHEMAS, Table
from pipeline.offline.dataset.writer import DatasetWriter, Rows, adding
from pipeline.offline.dataset_backtest import backtest
from pipeline.offline.training.ranking import facts, first_records, rank
from pipeline.offline.training.recipe import load_recipe
from pipeline.offline.training.train import train
from pipeline.records import Anomaly, Feedback
from pipeline.registry.store import Store
from pipeline.settings import load_settings
from pipeline.stage import LogRecord

SHARE = 2 / 3
"""Of the time, whose anomalies people answer."""
RECALLS = (0.8, 0.9, 0.95)


def raised(year: Year, folder: Path) -> list[Anomaly]:
    """What the stages raise over the year: each anomaly's records, in order."""
    with adding(folder / "samples", Request(source="csv")) as writer:
        for recording in year.recordings:
            add_recording(writer, recording)
        writer.checkpoint(complete=True)
        writer.publish()
    settings = load_settings(overrides={"detect.frame_s": 60.0 * STEP})
    backtest(folder / "samples", settings, folder / "out", workers=Workers(Backend.PROCESSES, 2))
    lines = (folder / "out" / "anomalies.jsonl").read_text(encoding="utf-8").splitlines()
    return [Anomaly.model_validate_json(line) for line in lines]


def answer(folder: Path, year: Year, anomalies: list[Anomaly], until: int, rng: np.random.Generator) -> Dataset:
    """A dataset of what was raised and what people said of it in the first part of the year."""
    last = {one.id: one for one in anomalies}
    with adding(folder, Request(source="csv")) as writer:
        rows = RecordRows(writer.buckets)
        for one in anomalies:
            _add(rows, Anomaly.event_type(), one.last_at.timestamp(), one.model_dump_json())
        advice = []
        for one in last.values():
            at = int(one.last_at.timestamp() * 1000)
            if at >= until or rng.random() > ANSWERED:
                continue
            matters = incident_of(year, one) is not None
            said = {
                "id": f"f{one.id}",
                "recommendation": f"r{one.id}",
                "verdict": "acknowledged" if matters else "false_alarm",
                "by": "people",
                "at": one.last_at.isoformat(),
            }
            _add(rows, Feedback.event_type(), one.last_at.timestamp(), json.dumps(said))
            advice.append({"timestamp": at, "id": f"r{one.id}", "anomalies": [one.id], "record": ""})
        for taken in rows.take():
            writer.write(taken)
        _write_advice(writer, advice)
        writer.checkpoint(complete=True)
        writer.publish()
    return Dataset(folder)


def _add(rows: RecordRows, event_type: str, at_s: float, value: str) -> None:
    headers = (("ce_type", event_type.encode()),)
    rows.add(LogRecord("", 0, 0, int(at_s * 1000), None, value.encode(), headers), Window())


def _write_advice(writer: DatasetWriter, advice: list[dict[str, Any]]) -> None:
    import pyarrow as pa  # noqa: PLC0415

    table = pa.Table.from_pylist(advice, schema=SCHEMAS[Table.RECOMMENDATIONS])
    nothing = np.zeros(len(advice), dtype=np.int64)
    writer.write(Rows(Table.RECOMMENDATIONS, table, nothing.astype(np.int32), nothing))


def incident_of(year: Year, one: Anomaly) -> int | None:
    """The incident that an anomaly is part of, by number."""
    ended = one.closed_at or one.last_at
    return overlaps(year.incidents, one.service, int(one.opened_at.timestamp() * 1000), int(ended.timestamp() * 1000))


def precision_at(recall: float, order: np.ndarray, incident: np.ndarray) -> float:
    """Precision of the anomalies shown until this share of incidents is found; incident int64[n], -1 for none."""
    numbers = np.unique(incident[incident >= 0])
    best = np.sort([order[incident == number].max() for number in numbers])[::-1]
    level = best[int(np.ceil(recall * len(best))) - 1]
    return float((incident[order >= level] >= 0).mean())


def measured(seed: int, days: int, folder: Path) -> dict[str, Any]:
    """One year."""
    year, until = generate(seed, days), START + int(days * SHARE) * DAY_MS
    anomalies = raised(year, folder)
    dataset = answer(folder / "answered", year, anomalies, until, np.random.default_rng(seed + 1))
    recipe = load_recipe("ranker", shipped_config())
    trained = train(dataset, recipe, store := Store(str(folder / "registry")))
    table = first_records(dataset)
    features = of_anomalies(facts(table))
    last = {one.id: one for one in anomalies}
    of = np.array([-1 if (n := incident_of(year, last[key])) is None else n for key in table["id"]])
    at = table["opened_at"].dt.as_unit("ms").astype("int64").to_numpy()
    later = at >= until
    before = table["score"].to_numpy()[later]
    after = rank(store.estimator(recipe.name, trained.version), features[later])
    pairs = {at: (precision_at(at, before, of[later]), precision_at(at, after, of[later])) for at in RECALLS}
    return {
        "anomalies": len(last),
        "judged": int(later.sum()),
        "incidents_raised": len(set(of[later].tolist()) - {-1}),
        "precision": {f"{at:g}": [round(one, 3) for one in pair] for at, pair in pairs.items()},
        "ratio": {f"{at:g}": round(after / before, 2) for at, (before, after) in pairs.items()},
    }


def main() -> None:
    """The years of the seeds given."""
    parser = argparse.ArgumentParser(description="Precision at equal recall, before and after one retraining.")
    parser.add_argument("seeds", type=int, nargs="+", help="Of the generated years.")
    parser.add_argument("--days", type=int, default=364, help="Less than a year, where time is short.")
    given = parser.parse_args()
    figures: list[dict[str, Any]] = []
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            figures.append(measured(seed, given.days, Path(folder)))
        report("value", {"days": given.days, "seed": seed, **figures[-1]})
    ratios = {f"{at:g}": statistics.median(one["ratio"][f"{at:g}"] for one in figures) for at in RECALLS}
    report("value", {"days": given.days, "seeds": given.seeds, "median_ratio": ratios})


if __name__ == "__main__":
    main()
