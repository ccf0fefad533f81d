"""Ranking that learns from outcomes and answers, through the stage."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.settings import AdviseSettings
from pipeline.stage import Topic
from tests.advise import helpers
from tests.advise.helpers import SLOW, Fault, Story, advice, make_stage, of, rules, shipped

if TYPE_CHECKING:
    import pytest

LOOP = Fault({**SLOW, "app.event_loop.lag": 0.2}, rising=["http.latency.p95", "app.event_loop.lag"])
IMPATIENT = AdviseSettings(cooldown_s=60.0)


def round_of(story: Story, stage: Any, verdict: str) -> list[dict[str, Any]]:
    """A deploy and a blocked loop, the first choice answered, and an hour of peace; the recommendations."""
    story.opened.clear()  # new trouble, new anomalies
    story.deploy(id=f"deploy-{story.minute}")
    found = advice(stage.step(story.troubled(5, {"duri_core": LOOP}).take()))
    first = min((record for record in found if record["state"] == "proposed"), key=lambda record: record["rank"])
    story.feedback(first["id"], verdict, f"f{story.minute}")
    story.troubled(12, {"duri_core": LOOP}) if verdict == "applied" else story.healthy(12)
    stage.step(story.healthy(1500).take())
    return found


def test_what_never_helps_loses_its_place() -> None:
    """The blocking handler goes first, until it was applied in vain: then the rollback does."""
    story, stage = Story().healthy(40), make_stage(IMPATIENT)
    firsts = [rules(round_of(story, stage, "applied"))[0] for _ in range(2)]
    assert firsts == ["app-blocking-handler", "deploy-rollback"]
    statistics = stage.statistics()
    assert statistics['rule_applied_total{rule="app-blocking-handler"}'] == 1
    assert statistics['rule_verified_total{rule="app-blocking-handler"}'] == 0


def test_a_new_version_of_a_rule_is_learned_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first one did in vain is not held against the second."""
    story, stage = Story().healthy(40), make_stage(IMPATIENT)
    round_of(story, stage, "applied")
    catalogue, topology = shipped()
    entries = [
        replace(entry, rule=entry.rule.model_copy(update={"version": "3"}))
        if entry.rule.id == "app-blocking-handler"
        else entry
        for entry in catalogue.rules
    ]
    newer = replace(catalogue, rules=tuple(entries), by_id={entry.rule.id: entry for entry in entries})
    monkeypatch.setattr(helpers, "shipped", lambda: (newer, topology))
    restarted = make_stage(IMPATIENT)
    restarted.restore(dict(stage.snapshot()))
    found = round_of(story, restarted, "applied")
    assert rules(found)[0] == "app-blocking-handler"
    assert found[0]["provenance"]["rule_version"] == "3"
    assert restarted.statistics()['rule_applied_total{rule="app-blocking-handler"}'] == 2


def test_outcome_publishes_the_hit_rate() -> None:
    """How many of the rule's applied recommendations were verified so far."""
    story, stage = Story().healthy(40), make_stage(IMPATIENT)
    found = advice(stage.step(story.troubled(6, {"duri_core": LOOP}).take()))
    outputs = stage.step(story.feedback(found[0]["id"], "applied").healthy(9).take())
    [outcome] = [each for each in of(outputs, Topic.OUTCOMES) if each["recommendation"]]
    assert (outcome["result"], outcome["rule_verified"], outcome["rule_applied"]) == ("verified", 1, 1)


def test_rejection_lowers_confidence_there_more_than_elsewhere() -> None:
    """A no on one service makes the rule less sure on it, and a little less sure on others."""
    story, stage = Story(("duri_core", "shop")).healthy(40), make_stage(IMPATIENT)
    found = advice(stage.step(story.troubled(3, {"duri_core": LOOP}).take()))
    stage.step(story.feedback(found[0]["id"], "rejected").healthy(1500).take())
    story.opened.clear()
    again = advice(stage.step(story.troubled(3, {"duri_core": LOOP, "shop": LOOP}).take()))
    sure = {record["target"]["service"]: record["confidence"] for record in again}
    assert sure["duri_core"] < sure["shop"] < found[0]["confidence"]


def test_alternatives_say_why_they_rank_lower() -> None:
    """The first choice needs no reason; the second names what holds it down."""
    story, stage = Story().healthy(40).deploy(), make_stage()
    found = {record["rank"]: record for record in advice(stage.step(story.troubled(5, {"duri_core": LOOP}).take()))}
    assert found[1]["rank_reason"] == ""
    assert found[2]["rank_reason"].startswith("less sure than the first choice")
    assert found[2]["rank_reason"].endswith("it rests on a change just before")
