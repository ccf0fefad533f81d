"""Right service first? Generated call graphs through the advise stage, in full and with calls missing.

    python -m benchmarks.causes             the final seeds
    python -m benchmarks.causes --develop   the seeds that the code was developed with

A case counts as right when, after the second window of the fault, the incident of the service that takes the requests
from outside (or of the faulty one, where nobody outside notices) names the faulty service. The final seeds were run
once the code was done; nothing was changed after them.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from benchmarks.callgraphs import FRAME_S, Case, name_of, records_of
from benchmarks.harness import report
from pipeline.advise.rules.catalogue import Catalogue, load_catalogue
from pipeline.advise.stage import AdviseStage
from pipeline.configfile import shipped_config
from pipeline.settings import AdviseSettings
from pipeline.signals.definitions import load_definitions
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.stage import Output

DEVELOPMENT_SEEDS = range(1000, 1200)
FINAL_SEEDS = range(990_000, 990_300)
ASKED_FULL, ASKED_MISSING = 0.95, 0.75
MISSING = 0.2


def main() -> None:
    """Run the cases and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--develop", action="store_true", help="the seeds of development, with every miss")
    parser.add_argument("--cases", type=int, help="the first so many seeds only")
    options = parser.parse_args()
    seeds = list(DEVELOPMENT_SEEDS if options.develop else FINAL_SEEDS)[: options.cases]
    catalogue = load_catalogue(shipped_config() / "catalogue", load_definitions(shipped_config()))
    full = [judge(seed, catalogue, 0.0) for seed in seeds]
    missing = [judge(seed, catalogue, MISSING) for seed in seeds]
    if options.develop:
        for result in (*full, *missing):
            if not result["right"]:
                print(json.dumps(result))
    report(
        "causes",
        {
            "seeds": [seeds[0], seeds[-1]],
            "right_first_full": share(full),
            "asked_full": ASKED_FULL,
            "right_first_20_percent_of_calls_missing": share(missing),
            "asked_missing": ASKED_MISSING,
            "by_kind_full": by_kind(full),
            "by_kind_missing": by_kind(missing),
            "nobody_complained": sum(result["found"] is None for result in full),
            "certainty_when_right_missing": certainty(missing, right=True),
            "certainty_when_wrong_missing": certainty(missing, right=False),
        },
    )


def judge(seed: int, catalogue: Catalogue, missing: float) -> dict[str, Any]:
    """One case through the stage."""
    case = Case(seed)
    stage = AdviseStage(
        AdviseSettings(), catalogue, case.topology(missing), frame_s=FRAME_S, input_topic="duri.frames", partition=0
    )
    incidents: dict[str, dict[str, Any]] = {}
    for minute, frames in enumerate(case.minutes()):
        for record in _incidents(stage.step(records_of(frames, minute))):
            incidents[record["id"]] = record
    fronts = [name_of(service) for service in range(case.graph.size) if case.graph.outside[service] > 0]
    incident = _of(incidents, fronts) or _of(incidents, [case.truth])
    found = None if incident is None else incident["cause"]
    return {
        "seed": seed,
        "size": case.graph.size,
        "kind": case.fault.kind,
        "truth": case.truth,
        "found": found,
        "right": found == case.truth,
        "certainty": None if incident is None else incident["certainty"],
        "missing": missing,
    }


def _incidents(outputs: Sequence[Output]) -> list[dict[str, Any]]:
    return [json.loads(output.value) for output in outputs if output.topic is Topic.INCIDENTS]


def _of(incidents: dict[str, dict[str, Any]], services: list[str]) -> dict[str, Any] | None:
    """The largest open incident that has one of these services: chance makes small ones beside it."""
    alive = [each for each in incidents.values() if each["state"] != "closed" and set(services) & set(each["services"])]
    return max(alive, key=lambda each: (len(each["services"]), each["id"]), default=None)


def share(results: Sequence[dict[str, Any]]) -> float:
    """Share of cases that are right."""
    return round(sum(result["right"] for result in results) / len(results), 4)


def by_kind(results: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Share that is right, by kind of fault."""
    kinds = sorted({result["kind"] for result in results})
    return {kind: share([result for result in results if result["kind"] == kind]) for kind in kinds}


def certainty(results: Sequence[dict[str, Any]], *, right: bool) -> float | None:
    """Mean certainty of the right ones, or of the wrong ones."""
    kept = [result["certainty"] for result in results if result["right"] is right and result["certainty"] is not None]
    return round(sum(kept) / len(kept), 3) if kept else None


if __name__ == "__main__":
    main()
