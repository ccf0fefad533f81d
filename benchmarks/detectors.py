"""Compare the bank with other streaming detectors on the same corpora; prints one JSON line a detector.

python -m benchmarks.detectors --nab DIR --cloud DIR

The others get the best threshold of a sweep on each corpus, in their favour; the bank's alarms are as raised. NAB is
the standard profile. Speed is that of one core on the NAB series, one after the other.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from river import anomaly

from models.corpora import LabelledFile, NabFile, load_cloud, load_nab
from models.evaluation import NAB_PROFILES, EventCounts, NabSeries, nab_score, onsets, score_events
from models.online.bank import Bank
from models.replay import replay

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.contracts import Float64s

    Scorer = Callable[[Float64s], Float64s]

QUANTILES = np.array([0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.985, 0.99, 0.993, 0.995, 0.997, 0.998, 0.999])


def ewma_z(values: Float64s, rate: float = 0.01) -> Float64s:
    """Exponentially weighted z with a floor of 3 % of the range so far."""
    mean, variance, low, high = values[0], 0.0, values[0], values[0]
    scores = np.zeros(len(values))
    for i, value in enumerate(values):
        residual = value - mean
        scores[i] = abs(residual) / (np.sqrt(variance) + 0.03 * (high - low) + 1e-12)
        weight = max(rate, 1.0 / (i + 1))
        mean += weight * residual
        variance += weight * (residual * residual - variance)
        low, high = min(low, value), max(high, value)
    scores[:30] = 0.0
    return scores


def half_space_trees(values: Float64s) -> Float64s:
    """Score with River's HalfSpaceTrees on values scaled by the range so far."""
    model = anomaly.HalfSpaceTrees(seed=42)
    low, high = values[0], values[0]
    scores = np.zeros(len(values))
    for i, value in enumerate(values.tolist()):
        low, high = min(low, value), max(high, value)
        x = {"x": (value - low) / (high - low) if high > low else 0.0}
        scores[i] = model.score_one(x)
        model.learn_one(x)
    return scores


def absolute_deviation(values: Float64s) -> Float64s:
    """Score with River's StandardAbsoluteDeviation."""
    model = anomaly.StandardAbsoluteDeviation()
    scores = np.zeros(len(values))
    for i, value in enumerate(values.tolist()):
        scores[i] = model.score_one(None, value)
        model.learn_one(None, value)
    return np.nan_to_num(scores, nan=0.0, posinf=0.0)


SCORERS: dict[str, Scorer] = {
    "ewma_z": ewma_z,
    "river_half_space_trees": half_space_trees,
    "river_standard_absolute_deviation": absolute_deviation,
}


def best_f1(scored: list[tuple[LabelledFile, Float64s]]) -> float:
    """Give the best F1 over a sweep of thresholds, in sample."""
    levels = np.unique(np.quantile(np.concatenate([scores for _, scores in scored]), QUANTILES))
    counts = (
        sum((score_events(file.labels, scores >= level) for file, scores in scored), EventCounts()) for level in levels
    )
    return round(max(one.f1 for one in counts), 3)


def compare(scorer: Scorer, nab: list[NabFile], cloud: list[LabelledFile]) -> dict[str, float]:
    """Run a detector of one series at a time."""
    begin = time.perf_counter()
    series = [NabSeries(scorer(file.values), file.windows) for file in nab]
    seconds = time.perf_counter() - begin
    return {
        "nab_best": round(nab_score(series, NAB_PROFILES["standard"]).score, 1),
        "cloud_f1_best": best_f1([(file, scorer(file.values)) for file in cloud]),
        "samples_per_s": round(sum(len(file.ts) for file in nab) / seconds),
    }


def bank(nab: list[NabFile], cloud: list[LabelledFile]) -> dict[str, float]:
    """Run the bank with its defaults."""
    replay(Bank, nab[0].ts, nab[0].values)  # compiles
    begin = time.perf_counter()
    judged = [(file, replay(Bank, file.ts, file.values)) for file in nab]
    seconds = time.perf_counter() - begin
    raised = [NabSeries(onsets(v.alarm).astype(np.float64), f.windows) for f, v in judged]
    scored = [NabSeries(v.score.astype(np.float64), f.windows) for f, v in judged]
    counts = sum((score_events(f.labels, replay(Bank, f.ts, f.values).alarm) for f in cloud), EventCounts())
    return {
        "nab_alarms": round(nab_score(raised, NAB_PROFILES["standard"], 1.0).score, 1),
        "nab_best": round(nab_score(scored, NAB_PROFILES["standard"]).score, 1),
        "cloud_f1": round(counts.f1, 3),
        "samples_per_s": round(sum(len(file.ts) for file in nab) / seconds),
    }


def main() -> None:
    """Print a line for each detector."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nab", type=Path, required=True)
    parser.add_argument("--cloud", type=Path, required=True)
    args = parser.parse_args()
    nab, cloud = load_nab(args.nab), load_cloud(args.cloud)
    print(json.dumps({"detector": "bank", **bank(nab, cloud)}), flush=True)
    for name, scorer in SCORERS.items():
        print(json.dumps({"detector": name, **compare(scorer, nab, cloud)}), flush=True)


if __name__ == "__main__":
    main()
