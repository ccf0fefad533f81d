"""Streaming detectors side by side: ours and the others, on NAB, labelled cloud series and synthetic trouble.

python -m benchmarks.detectors --nab DIR --cloud DIR [--peers PYTHON] [--keep DIR] [--only NAME …] [--write]

Every detector judges each series alone and in order, and every one but ours gets the best threshold on each corpus, in
its favour. `--peers` names the Python of an environment with PySAD and rrcf (`pip install pysad rrcf`), AWS's random
cut forest needs a JDK. `--keep` holds the scores of the others from run to run: they do not change when ours do.
`--write` puts the table into docs/benchmarks.md. Without it one JSON line a detector is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.document import machine, markdown_table, replace_section
from benchmarks.rivals import (
    JARS,
    Recorded,
    Scored,
    absolute_deviation,
    ewma_z,
    half_space_trees,
    java_peer,
    kept,
    one_by_one,
    python_peer,
)
from models.corpora import LabelledFile, NabFile, load_labelled, load_nab
from models.evaluation import NAB_PROFILES, NabSeries, nab_score
from models.online.bank import Bank
from models.replay import replay
from models.trials.events import JudgedEvents, events_report
from models.trials.nab import JudgedNab, nab_report
from models.trials.synthetic import corpus
from models.trials.thresholds import ScoredEvents, event_sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from models.contracts import Float64s

RATES = (0.002, 0.005, 0.01, 0.02, 0.05)
SYNTHETIC_STEP_S = 300
PYSAD = ("relative_entropy", "rs_hash", "knn_cad", "loda", "xstream", "median_deviation", "kitnet")
"""PySAD's streaming models that run on one value after the other."""


class Corpora(NamedTuple):
    """What is judged."""

    nab: list[NabFile]
    cloud: list[LabelledFile]
    synthetic: list[LabelledFile]

    def recorded(self) -> dict[str, Recorded]:
        """All series, without what is known of them."""
        parts = zip(("nab", "cloud", "synthetic"), self, strict=True)
        return {f"{part}:{one.name}": Recorded(one.ts, one.values) for part, many in parts for one in many}


def judged(corpora: Corpora) -> dict[str, Any]:
    """Figures of our learners: the alarms as raised, and their score at its best threshold."""
    replay(Bank, corpora.nab[0].ts, corpora.nab[0].values)  # compiles
    began = time.process_time()
    verdicts = [replay(Bank, file.ts, file.values) for file in corpora.nab]
    seconds = time.process_time() - began
    nab = nab_report([JudgedNab(*one) for one in zip(corpora.nab, verdicts, strict=True)])
    cloud, synthetic = (
        events_report([JudgedEvents(file, replay(Bank, file.ts, file.values)) for file in files])
        for files in (corpora.cloud, corpora.synthetic)
    )
    return {
        "raised": {
            "nab": nab["profiles"]["raised"],
            "cloud_f1": cloud["raised"]["f1"],
            "synthetic_f1": synthetic["raised"]["f1"],
        },
        "nab": {name: nab["profiles"]["ranked"][name] for name in NAB_PROFILES},
        "scores_nab": {name: nab["profiles"]["scores"][name] for name in NAB_PROFILES},
        "cloud_f1": cloud["best"]["ranked"]["f1"],
        "synthetic_f1": synthetic["best"]["ranked"]["f1"],
        "samples_per_s": round(sum(len(file.ts) for file in corpora.nab) / seconds),
        "bytes_per_series": Bank().bytes_per_series,
    }


def figures(scored: Scored, corpora: Corpora) -> dict[str, Any]:
    """Figures of any other detector, at its best threshold on each corpus."""
    series = [NabSeries(scored.scores[f"nab:{file.name}"], file.windows) for file in corpora.nab]
    samples = sum(len(scores) for scores in scored.scores.values())
    return {
        "nab": {name: round(nab_score(series, profile).score, 2) for name, profile in NAB_PROFILES.items()},
        "cloud_f1": _best_f1("cloud", corpora.cloud, scored.scores),
        "synthetic_f1": _best_f1("synthetic", corpora.synthetic, scored.scores),
        "samples_per_s": round(samples / scored.seconds),
        "bytes_per_series": scored.state,
        "measured": scored.measured,
    }


def _best_f1(part: str, files: Sequence[LabelledFile], scores: Mapping[str, Float64s]) -> float:
    events = [ScoredEvents(file.labels, scores[f"{part}:{file.name}"], file.ts) for file in files]
    counts, _ = event_sweep({part: events}).best()
    return round(counts.f1, 3)


def rivals(series: Mapping[str, Recorded], peers: Path | None) -> dict[str, Callable[[], Scored]]:
    """Every other detector that can run here."""
    runs: dict[str, Callable[[], Scored]] = {
        f"EWMA z, rate {rate:g}": partial(one_by_one, ewma_z(rate), series) for rate in RATES
    }
    runs["River StandardAbsoluteDeviation"] = partial(one_by_one, absolute_deviation, series)
    runs["River HalfSpaceTrees"] = partial(one_by_one, half_space_trees, series)
    if peers is not None:
        for model in PYSAD:
            runs[f"PySAD {model}"] = partial(python_peer, peers, model, series)
        runs["rrcf"] = partial(python_peer, peers, "rrcf", series)
    runs["AWS random cut forest, score"] = partial(java_peer, series, graded=False)
    runs["AWS random cut forest, grade"] = partial(java_peer, series, graded=True)
    return runs


def best_rate(rows: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """EWMA z with the best rate for each figure."""
    every = [row for name, row in rows.items() if name.startswith("EWMA z")]
    best = dict(every[0])
    for figure in ("cloud_f1", "synthetic_f1"):
        best[figure] = max(row[figure] for row in every)
    best["nab"] = {name: max(row["nab"][name] for row in every) for name in NAB_PROFILES}
    return best


def section(ours: dict[str, Any], rows: Mapping[str, dict[str, Any]]) -> str:
    """The section of docs/benchmarks.md."""
    raised = {**ours, **ours["raised"], "name": "**ours**, alarms as raised"}
    lines = [_row("**ours**, alarms as raised", raised), _row("**ours**, alarms, best threshold", ours)]
    lines.append(
        _row(
            "**ours**, score of each sample",
            {**ours, "nab": ours["scores_nab"], "cloud_f1": None, "synthetic_f1": None},
        )
    )
    lines += [_row(name, row) for name, row in rows.items()]
    head = ["detector", "NAB standard", "low FP", "low FN", "cloud F1", "synthetic F1", "samples/s", "bytes a series"]
    days = sorted({row["measured"] for row in rows.values()})
    versions = ", ".join(f"{name} {_version(name)}" for name in ("numpy", "numba", "river"))
    jars = ", ".join(coordinate.split(":", 1)[1].replace(":", " ") for coordinate in JARS)
    note = f"{machine()}; {versions}; {jars}. The others were measured on {' and '.join(days)}."
    return f"{markdown_table(head, lines)}\n\n{note}"


def _row(name: str, row: dict[str, Any]) -> list[str]:
    nab = [f"{row['nab'][profile]:.1f}" for profile in NAB_PROFILES]
    f1 = ["" if row[key] is None else f"{row[key]:.3f}" for key in ("cloud_f1", "synthetic_f1")]
    state = f"{row['bytes_per_series']:,}" if row["bytes_per_series"] else ""
    return [name, *nab, *f1, f"{row['samples_per_s']:,}", state]


def _version(name: str) -> str:
    return metadata.version(name)


def main() -> None:
    """Judge all that was asked for; a JSON line each, or the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nab", type=Path, required=True)
    parser.add_argument("--cloud", type=Path, required=True)
    parser.add_argument("--peers", type=Path, help="Python of an environment with PySAD and rrcf")
    parser.add_argument("--keep", type=Path, help="folder that holds the others' scores from run to run")
    parser.add_argument("--only", nargs="*", help="only the others whose names contain one of these words")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    args = parser.parse_args()
    corpora = Corpora(load_nab(args.nab), load_labelled(args.cloud), corpus(SYNTHETIC_STEP_S, seed=0))
    series = corpora.recorded()
    ours = judged(corpora)
    print(json.dumps({"detector": "ours", **ours}), flush=True)
    rows: dict[str, dict[str, Any]] = {}
    for name, run in rivals(series, args.peers).items():
        if args.only is not None and not any(word in name for word in args.only):
            continue
        sys.stderr.write(f"{name} …\n")
        rows[name] = figures(kept(args.keep, name, series, run), corpora)
        print(json.dumps({"detector": name, **rows[name]}), flush=True)
    if any(name.startswith("EWMA z") for name in rows):
        rows["EWMA z, best rate for each figure"] = best_rate(rows)
    if args.write:
        replace_section("detectors", section(ours, rows))


if __name__ == "__main__":
    main()
