"""Does the verdict equal the truth? Generated faults, advice that is applied, and both kinds of wrong advice.

    python -m benchmarks.verification             the final seeds
    python -m benchmarks.verification --develop   the seeds that the code was developed with, with every miss

Recommendations, for one service alone and for a server that several share: mended → verified, not mended → no_effect,
made worse → regressed with an undo proposed. Deploys: fine → fine, worse → regressed with the rollback proposed.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from benchmarks.changes import SERVICE, Story
from benchmarks.harness import median, report
from benchmarks.sharers import SharedStory
from pipeline import records
from pipeline.advise.incidents.topology import Topology
from pipeline.advise.rules.catalogue import load_catalogue
from pipeline.advise.stage import AdviseStage
from pipeline.configfile import shipped_config
from pipeline.settings import AdviseSettings
from pipeline.signals.definitions import load_definitions
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.advise.rules.catalogue import Catalogue
    from pipeline.stage import Output

DEVELOPMENT_SEEDS = range(2000, 2300)
FINAL_SEEDS = range(882_000, 882_300)
ASKED = 0.95
EXPECTED = {
    "mended": "verified",
    "not mended": "no_effect",
    "made worse": "regressed",
    "fine": "fine",
    "worse": "regressed",
}
_LONGEST_S = 2700.0


def main() -> None:
    """Run the cases and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--develop", action="store_true", help="the seeds of development, with every miss")
    parser.add_argument("--cases", type=int, help="the first so many seeds only")
    options = parser.parse_args()
    seeds = list(DEVELOPMENT_SEEDS if options.develop else FINAL_SEEDS)[: options.cases]
    catalogue = load_catalogue(shipped_config() / "catalogue", load_definitions(shipped_config()))
    advice = [judge(Story(seed), seed, catalogue) for seed in seeds]
    shared = [judge(SharedStory(seed), seed, catalogue) for seed in seeds]
    deploys = [judge_deploy(seed, catalogue) for seed in seeds]
    if options.develop:
        for result in (*advice, *shared, *deploys):
            if not result["right"]:
                print(json.dumps(result))
    judged, of_shared = ([each for each in told if each["verdict"] != "no advice"] for told in (advice, shared))
    times = [result["seconds"] for result in judged if result["right"]]
    report(
        "verification",
        {
            "seeds": [seeds[0], seeds[-1]],
            "verdict_equals_truth": share(judged),
            "asked": ASKED,
            "by_truth": by(judged, "truth"),
            "by_rule": by(judged, "rule"),
            "confusion": dict(sorted(Counter(f"{each['truth']} -> {each['verdict']}" for each in judged).items())),
            "cases": len(judged),
            "without_advice": len(advice) - len(judged),
            "undo_proposed_when_regressed": share(
                [{"right": each["undo"]} for each in judged if each["verdict"] == "regressed"]
            ),
            "shared_verdict_equals_truth": share(of_shared),
            "shared_by_truth": by(of_shared, "truth"),
            "shared_without_advice": len(shared) - len(of_shared),
            "deploys_verdict_equals_truth": share(deploys),
            "deploys_by_truth": by(deploys, "truth"),
            "rollback_proposed_when_worse": share(
                [{"right": each["undo"]} for each in deploys if each["truth"] == "worse"]
            ),
            "median_s_to_verdict": median(times) if times else None,
        },
    )


def judge(story: Story, seed: int, catalogue: Catalogue) -> dict[str, Any]:
    """Advice on a fault, applied; the outcome against the truth."""
    stage = _stage(catalogue, story.frame_s)
    known: dict[str, dict[str, Any]] = {}
    for batch in story.before():
        known.update((record["id"], record) for record in _of(stage.step(batch), Topic.RECOMMENDATIONS))
    wanted = [record for record in known.values() if record["provenance"]["rule"] == story.kind.rule]
    result = {"seed": seed, "rule": story.kind.rule, "truth": story.truth, "frame_s": story.frame_s}
    if not wanted:
        return {**result, "verdict": "no advice", "right": False, "undo": False}
    moment = story.now
    answer = records.Feedback(id="f", at=story.at(moment), recommendation=wanted[0]["id"], verdict="applied")
    outputs = list(stage.step([story.record(answer)]))
    for batch in story.after(_LONGEST_S):
        outputs += stage.step(batch)
    told = [each for each in _of(outputs, Topic.OUTCOMES) if each["recommendation"] == wanted[0]["id"]]
    undo = any(each["kind"].endswith(".undo") for each in _of(outputs, Topic.RECOMMENDATIONS))
    verdict = told[0]["result"] if told else "none"
    return {
        **result,
        "verdict": verdict,
        "right": verdict == EXPECTED[story.truth],
        "undo": undo,
        "note": told[0]["note"] if told else "",
        "seconds": records.to_ms(_moment(told[0]["at"])) / 1000 - records.to_ms(story.at(moment)) / 1000 if told else 0,
    }


def judge_deploy(seed: int, catalogue: Catalogue) -> dict[str, Any]:
    """A deploy in a healthy system; its outcome against the truth."""
    story = Story(seed, deploy=True)
    stage = _stage(catalogue, story.frame_s)
    outputs: list[Output] = []
    for batch in story.before():
        outputs += stage.step(batch)
    event = records.ChangeEvent(id="d", at=story.at(story.now), service=SERVICE, version="2", previous_version="1")
    outputs += stage.step([story.record(event)])
    for batch in story.after(_LONGEST_S):
        outputs += stage.step(batch)
    told = [each for each in _of(outputs, Topic.OUTCOMES) if each["change"] == "d"]
    rules = {each["provenance"]["rule"] for each in _of(outputs, Topic.RECOMMENDATIONS)}
    verdict = told[0]["result"] if told else "none"
    return {
        "seed": seed,
        "truth": story.truth,
        "frame_s": story.frame_s,
        "verdict": verdict,
        "right": verdict == EXPECTED[story.truth],
        "undo": "deploy-rollback" in rules,
        "note": told[0]["note"] if told else "",
    }


def _stage(catalogue: Catalogue, frame_s: float) -> AdviseStage:
    return AdviseStage(AdviseSettings(), catalogue, Topology(), frame_s=frame_s, input_topic="duri.frames", partition=0)


def _of(outputs: Sequence[Output], topic: Topic) -> list[dict[str, Any]]:
    return [json.loads(output.value) for output in outputs if output.topic is topic]


def _moment(text: str) -> Any:
    return records.Tick.model_validate({"at": text}).at


def share(results: Sequence[dict[str, Any]]) -> float | None:
    """Share of cases that are right."""
    return round(sum(result["right"] for result in results) / len(results), 4) if results else None


def by(results: Sequence[dict[str, Any]], name: str) -> dict[str, float | None]:
    """Share that is right, by a property of the case."""
    values = sorted({result[name] for result in results})
    return {value: share([result for result in results if result[name] == value]) for value in values}


if __name__ == "__main__":
    main()
