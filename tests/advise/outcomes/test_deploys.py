"""Deploys are judged as changes are: fine, or worse and to be rolled back."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline import records
from pipeline.settings import AdviseSettings
from pipeline.stage import Topic
from tests.advise.helpers import SLOW, Fault, Story, advice, make_stage, of, outcomes, rules

P95 = "http.latency.p95"


def deployed(fault: Fault, minutes: int = 20) -> list[Any]:
    """Outputs after a deploy in a healthy system that is followed by this."""
    story = Story().healthy(40).deploy(minutes_ago=0.0)
    return make_stage().step(story.troubled(minutes, {"duri_core": fault}).take())


def test_fine_deploy_closes_as_fine() -> None:
    """Nothing got worse: one outcome says so, and nothing else is written."""
    outputs = deployed(Fault())
    [outcome] = of(outputs, Topic.OUTCOMES)
    assert (outcome["result"], outcome["change"], outcome["service"]) == ("fine", "deploy-7", "duri_core")
    assert {output.topic for output in outputs} == {Topic.OUTCOMES}
    records.Outcome.model_validate(outcome)


def test_regressed_deploy_proposes_the_rollback_although_nothing_else_flags_it() -> None:
    """Half as slow again is below every threshold here, and above what a deploy may do."""
    slower = {name: 1.5 * value for name, value in {P95: 0.15, "http.latency.mean": 0.07}.items()}
    outputs = deployed(Fault(slower))
    assert [each["result"] for each in of(outputs, Topic.OUTCOMES)] == ["regressed"]
    found = advice(outputs)
    assert rules(found) == ["deploy-rollback"]
    assert (found[0]["change"]["current"], found[0]["change"]["recommended"]) == ("1.7", "1.6")


def test_rolled_back_deploy_is_a_deploy_too() -> None:
    """After the rollback the incident ends, and the rollback closes as fine."""
    story, stage = Story().healthy(40).deploy(minutes_ago=0.0), make_stage()
    story.troubled(10, {"duri_core": Fault({"http.error_ratio": 0.05, "http.availability": 0.95})})
    stage.step(story.take())
    story.deploy(minutes_ago=0.0, id="deploy-8", version="1.6", previous_version="1.7").healthy(40)
    told = outcomes(story, stage)
    assert ("fine", "deploy-8") in {(each["result"], each["change"]) for each in told}
    assert stage.statistics()["incidents_open"] == 0


@pytest.mark.parametrize("change", ["config", "restart"])
def test_other_changes_are_not_judged(change: str) -> None:
    """Only deploys close as fine."""
    story = Story().healthy(40).deploy(change=change, minutes_ago=0.0).healthy(30)
    assert make_stage().step(story.take()) == []


def test_watched_deploys_are_bounded() -> None:
    """No more deploys are under watch than services are known."""
    story, stage = Story().healthy(10), make_stage(AdviseSettings(max_services=2))
    for number in range(5):
        story.deploy(f"service-{number}", minutes_ago=0.0, id=f"deploy-{number}")
    stage.step(story.take())
    assert len(stage._deploys.trials) == 2


def test_a_deploy_is_rolled_back_although_something_else_was_wrong_before() -> None:
    """The service has had an open anomaly for half an hour; what fails since the deploy is the deploy's."""
    story, stage = Story(), make_stage()
    other = Fault({"node.cpu.utilisation": 0.7}, rising=["node.cpu.utilisation"])
    stage.step(story.healthy(40).troubled(30, {"duri_core": other}).take())
    story.deploy(minutes_ago=0)
    broken = Fault(
        {"node.cpu.utilisation": 0.7, "http.error_ratio": 0.3, "http.availability": 0.7},
        rising=["node.cpu.utilisation", "http.error_ratio"],
    )
    found = advice(stage.step(story.troubled(6, {"duri_core": broken}).take()))
    assert "deploy-rollback" in rules(found)


def test_a_slow_deploy_is_found_at_once_although_something_else_was_wrong_before() -> None:
    """Two and a half times as slow needs no two minutes, and older trouble does not make it unexplained."""
    older = {"node.cpu.utilisation": 0.7, "http.latency.p99": 0.6}
    rising = ["node.cpu.utilisation", "http.latency.p99"]
    story, stage = Story(frame_s=5.0), make_stage(frame_s=5.0)
    stage.step(story.healthy(360).troubled(60, {"duri_core": Fault(older, rising=rising)}).take())
    slow = Fault({**older, **SLOW, P95: 0.45, "http.latency.mean": 0.17}, rising=[*rising, P95])
    found = advice(stage.step(story.deploy(minutes_ago=0.0).troubled(10, {"duri_core": slow}).take()))
    since = [record for record in found if record["why"]["changes"]]
    assert rules(since) == ["deploy-rollback"]
    assert "unexplained-regression" not in {
        record["provenance"]["rule"] for record in found if record["created"] > since[0]["created"]
    }


@pytest.mark.parametrize(("ratio", "intervals"), [(4.0, 6), (2.0, 11), (1.45, 18)])
def test_the_smaller_the_harm_the_longer_the_window(ratio: float, intervals: int) -> None:
    """Nothing is said before so many intervals of 5 s, and the deploy is regressed at most three later."""
    story, stage = Story(frame_s=5.0).healthy(60).deploy(minutes_ago=0.0), make_stage(frame_s=5.0)
    slower = Fault({P95: ratio * 0.15, "http.latency.mean": ratio * 0.07})
    assert of(stage.step(story.troubled(intervals - 2, {"duri_core": slower}).take()), Topic.OUTCOMES) == []
    told = of(stage.step(story.troubled(5, {"duri_core": slower}).take()), Topic.OUTCOMES)
    assert [each["result"] for each in told] == ["regressed"]


def test_a_deploy_that_only_warms_up_is_not_rolled_back() -> None:
    """Five times as slow for some intervals, then falling to what it was: no regression."""
    story, stage = Story(frame_s=5.0).healthy(60).deploy(minutes_ago=0.0), make_stage(frame_s=5.0)
    for times in (5.0, 4.0, 1.2):
        story.troubled(1, {"duri_core": Fault({P95: times * 0.15, "http.latency.mean": times * 0.07})})
    outputs = stage.step(story.healthy(200).take())
    assert [each["result"] for each in of(outputs, Topic.OUTCOMES)] == ["fine"]


def test_the_rollback_of_what_failed_is_verified_by_its_errors() -> None:
    """Latency was never the symptom, so that it cannot tell whether the rollback helped."""
    failing = Fault({"http.error_ratio": 0.33, "http.availability": 0.67}, rising=["http.error_ratio"])
    story, stage = Story().healthy(40).deploy(minutes_ago=0.0), make_stage()
    found = advice(stage.step(story.troubled(6, {"duri_core": failing}).take()))
    assert (found[0]["kind"], found[0]["verification"]["signal"]) == ("deployment.rollback", "http.error_ratio")
    [outcome] = [
        each for each in outcomes(story.feedback(found[0]["id"], "applied").healthy(8), stage) if each["recommendation"]
    ]
    assert (outcome["result"], outcome["signal"], outcome["before"]) == ("verified", "http.error_ratio", 0.33)
