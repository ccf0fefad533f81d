"""Judge the bank on NAB and on the labelled cloud series; prints one JSON line each.

python -m benchmarks.nab --nab DIR --cloud DIR

`nab` scores each alarm's first sample, as it was raised; `nab_score` scores the column `score` at the
profile's best threshold, as NAB does. Events are counted as models.evaluation.score_events does.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.corpora import LabelledFile, NabFile, load_cloud, load_nab
from models.evaluation import NAB_PROFILES, EventCounts, NabSeries, nab_score, onsets, score_events
from models.online.bank import Bank
from models.replay import replay

if TYPE_CHECKING:
    from collections.abc import Iterable

    from models.contracts import Verdicts


def events(judged: Iterable[tuple[LabelledFile, Verdicts]]) -> dict[str, object]:
    """Add up events over all series and by domain."""
    by_domain: dict[str, EventCounts] = defaultdict(EventCounts)
    for file, verdicts in judged:
        by_domain[file.name.split("/")[0]] += score_events(file.labels, verdicts.alarm)
    total = sum(by_domain.values(), EventCounts())
    return {**figures(total), "by_domain": {name: round(one.f1, 3) for name, one in by_domain.items()}}


def figures(counts: EventCounts) -> dict[str, float]:
    """Round the figures of counts for print."""
    return {
        "f1": round(counts.f1, 3),
        "precision": round(counts.precision, 3),
        "recall": round(counts.recall, 3),
        "events": counts.events,
        "episodes": counts.episodes,
        "delay_samples": counts.delay,
    }


def nab(judged: list[tuple[NabFile, Verdicts]]) -> dict[str, object]:
    """Score NAB in its three profiles, on alarms and on scores, and its windows as events."""
    raised = [NabSeries(onsets(v.alarm).astype(np.float64), f.windows) for f, v in judged]
    scored = [NabSeries(v.score.astype(np.float64), f.windows) for f, v in judged]
    counts = EventCounts()
    for file, verdicts in judged:
        labels = np.zeros(len(file.ts), np.bool_)
        for first, last in file.windows:
            labels[first : last + 1] = True
        counts += score_events(labels, verdicts.alarm)
    return {
        "alarms": {name: round(nab_score(raised, p, 1.0).score, 2) for name, p in NAB_PROFILES.items()},
        "scores": {name: round(nab_score(scored, p).score, 2) for name, p in NAB_PROFILES.items()},
        "events": figures(counts),
    }


def main() -> None:
    """Print one line for each corpus whose folder is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nab", type=Path)
    parser.add_argument("--cloud", type=Path)
    args = parser.parse_args()
    if args.nab:
        judged = [(file, replay(Bank, file.ts, file.values)) for file in load_nab(args.nab)]
        print(json.dumps({"corpus": "nab", **nab(judged)}))
    if args.cloud:
        found = [(file, replay(Bank, file.ts, file.values)) for file in load_cloud(args.cloud)]
        print(json.dumps({"corpus": "cloud", **events(found)}))


if __name__ == "__main__":
    main()
