"""Recommendations over time: one standing advice, its answers, its verification, its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pipeline import records
from pipeline.settings import AdviseSettings
from pipeline.stage import Topic
from tests.advise.helpers import SLOW, Fault, Story, advice, make_stage, of, rules

if TYPE_CHECKING:
    from pipeline.advise.stage import AdviseStage
    from pipeline.stage import Output

POOL = Fault({**SLOW, "app.pool.utilisation": 1.0, "app.pool.acquire.p95": 0.2}, rising=["http.latency.p95"])
TROUBLE = {"duri_core": POOL}


def standing(minutes: int = 5, settings: AdviseSettings | None = None) -> tuple[Story, AdviseStage, dict[str, Any]]:
    """A story with one open recommendation, and the stage that made it."""
    story, stage = Story(), make_stage(settings)
    found = advice(stage.step(story.healthy(40).troubled(minutes, TROUBLE).take()))
    return story, stage, found[-1]


def last(outputs: list[Output]) -> dict[str, Any]:
    """The newest recommendation record."""
    return advice(outputs)[-1]


def test_healthy_system_gets_none() -> None:
    """Six healthy hours of all services: no output at all."""
    story = Story(("duri_core", "duri_control", "duri_brain", "duri_evolution"))
    assert make_stage().step(story.healthy(360).take()) == []


def test_standing_problem_is_one_recommendation_that_is_updated() -> None:
    """Three hours of one problem: one id, updated every half hour, nothing else."""
    story, stage = Story(), make_stage()
    found = advice(stage.step(story.healthy(40).troubled(180, TROUBLE).take()))
    assert {record["id"] for record in found} == {found[0]["id"]}
    assert {record["state"] for record in found} == {"proposed"}
    assert len(found) == 6
    assert stage.statistics()["recommendations_open"] == 1


def test_decides_in_the_second_window() -> None:
    """First samples mislead: the first window opens the incident, the second makes the advice."""
    story, stage = Story(), make_stage()
    first = stage.step(story.healthy(40).troubled(1, TROUBLE).take())
    assert [record["state"] for record in of(first, Topic.INCIDENTS)] == ["opened"]
    assert advice(first) == []
    assert rules(advice(stage.step(story.troubled(1, TROUBLE).take()))) == ["app-pool-size"]


GROWN = {"pg.temp_bytes.rate": 5e6}
BLOCKED = Fault({**SLOW, "app.event_loop.lag": 0.3}, rising=["http.latency.p95", "app.event_loop.lag"])


def test_what_no_longer_holds_gives_up_the_first_place() -> None:
    """One incident, two causes in turn: the second is the first choice soon after the first is gone."""
    story, stage = Story(), make_stage()
    before = advice(stage.step(story.healthy(40).troubled(5, {"duri_core": BLOCKED}).take()))
    assert rules(before) == ["app-blocking-handler"]
    after = advice(stage.step(story.troubled(8, TROUBLE).take()))
    newest = {record["provenance"]["rule"]: record for record in after}
    assert newest["app-pool-size"]["rank"] == 1
    assert newest["app-blocking-handler"]["rank"] == 2
    assert newest["app-blocking-handler"]["rank_reason"]


def test_a_fault_within_a_harmless_incident_is_found() -> None:
    """Anomalies of a passing disturbance are still open, a callee's among them: what breaks then is its own cause."""
    story, stage = Story(("duri_core", "duri_brain")), make_stage()
    passing = dict.fromkeys(story.services, Fault(rising=["http.latency.p95"]))
    before = advice(stage.step(story.healthy(40).troubled(20, passing).take()))
    found = advice(stage.step(story.troubled(5, {**passing, **TROUBLE}).take()))
    assert rules(before) == []
    assert "app-pool-size" in rules(found)


def test_what_does_far_more_harm_than_the_incident_did_is_its_new_cause() -> None:
    """A caller was a little slow for an hour, its callee's anomaly is open too; then the callee breaks."""
    story, stage = Story(("duri_control", "duri_core")), make_stage()
    passing = Fault(rising=["http.latency.p95"])
    slow = Fault({"http.latency.mean": 0.1}, rising=["http.latency.p95"])
    stage.step(story.healthy(40).troubled(41, {"duri_control": slow, "duri_core": passing}).take())
    outputs = stage.step(story.troubled(4, {"duri_control": slow, **TROUBLE}).take())
    assert [record["cause"] for record in of(outputs, Topic.INCIDENTS)][-1] == "duri_core"
    assert rules(advice(outputs))[0] == "app-pool-size"


def test_what_was_applied_is_the_one_first_choice() -> None:
    """Somebody applies an alternative: what it competes with is an alternative from then on."""
    story, stage = Story(), make_stage()
    both = {"duri_core": Fault({**TROUBLE["duri_core"].signals, **GROWN}, rising=["http.latency.p95", *GROWN])}
    newest = {record["id"]: record for record in advice(stage.step(story.healthy(40).troubled(8, both).take()))}
    second = next(record for record in newest.values() if record["rank"] == 2)
    later = advice(stage.step(story.feedback(second["id"], "applied").troubled(3, both).take()))
    newest |= {record["id"]: record for record in later}
    firsts = [record for record in newest.values() if record["rank"] == 1]
    assert [(record["id"], record["state"]) for record in firsts] == [(second["id"], "applied")]


def test_incident_closes_once_and_takes_its_recommendation_along() -> None:
    """After the gap without anomalies the incident closes, and unanswered advice expires with an outcome."""
    story, stage, first = standing()
    outputs = stage.step(story.healthy(30).take())
    assert [record["state"] for record in of(outputs, Topic.INCIDENTS)] == ["closed"]
    assert [record["state"] for record in advice(outputs)] == ["expired"]
    assert [record["result"] for record in of(outputs, Topic.OUTCOMES)] == ["expired"]
    assert advice(outputs)[0]["id"] == first["id"]
    assert stage.statistics()["incidents_open"] == 0


def test_no_flapping() -> None:
    """Trouble every third minute is one incident, written when it opens and when it is decided."""
    story, stage = Story(), make_stage()
    story.healthy(40)
    for _ in range(20):
        story.troubled(1, TROUBLE).healthy(2)
    found = of(stage.step(story.take()), Topic.INCIDENTS)
    assert [record["state"] for record in found] == ["opened", "updated"]


def test_cool_down_before_the_same_advice_again() -> None:
    """Ended advice is not repeated within the hour, and is after it."""
    story, stage, _ = standing()
    stage.step(story.healthy(30).take())
    assert advice(stage.step(story.troubled(5, TROUBLE).take())) == []
    stage.step(story.healthy(60).take())
    assert rules(advice(stage.step(story.troubled(5, TROUBLE).take()))) == ["app-pool-size"]


def test_unanswered_advice_expires() -> None:
    """Advice that nobody answers ends, although the problem stands."""
    story, stage, first = standing(settings=AdviseSettings(expiry_s=3600))
    outputs = stage.step(story.troubled(70, TROUBLE).take())
    assert [record["state"] for record in advice(outputs) if record["id"] == first["id"]][-1] == "expired"
    assert of(outputs, Topic.OUTCOMES)[0]["note"] == "nobody answered in time"


# --- answers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", ["rejected", "false_alarm"])
def test_rejected_advice_ends_and_stays_away(verdict: str) -> None:
    """A no ends it with an outcome, and the standing problem does not bring it back the same day."""
    story, stage, first = standing()
    outputs = stage.step(story.feedback(first["id"], verdict).troubled(120, TROUBLE).take())
    assert [record["state"] for record in advice(outputs)] == ["rejected"]
    outcome = of(outputs, Topic.OUTCOMES)[0]
    assert (outcome["result"], outcome["recommendation"]) == ("rejected", first["id"])
    assert outcome["note"] == f"{verdict} by ann"


def test_snoozed_advice_keeps_quiet() -> None:
    """Snooze keeps the state and holds updates back for the cool-down."""
    story, stage, first = standing()
    outputs = stage.step(story.feedback(first["id"], "snooze").troubled(50, TROUBLE).take())
    assert [record["state"] for record in advice(outputs)] == ["proposed"]


def test_illegal_and_unknown_answers_are_counted() -> None:
    """An answer to nothing, or one that the life cycle does not have, changes nothing."""
    story, stage, first = standing()
    story.feedback("no such id", "applied").feedback(first["id"], "applied").feedback(first["id"], "acknowledged")
    outputs = stage.step(story.take())
    assert [record["state"] for record in advice(outputs)] == ["applied"]
    assert stage.statistics()["feedback_unknown_total"] == 1
    assert stage.statistics()["feedback_illegal_total"] == 1


def test_applied_and_mended_is_verified() -> None:
    """The mechanism's own signal clears: verified, with before and after."""
    story, stage, first = standing()
    outputs = stage.step(story.feedback(first["id"], "applied").healthy(8).take())
    outcome = of(outputs, Topic.OUTCOMES)[0]
    assert (outcome["result"], outcome["before"], outcome["after"]) == ("verified", 1.0, 0.3)
    assert [record["state"] for record in advice(outputs)] == ["applied", "verified"]


def test_applied_in_vain_has_no_effect() -> None:
    """The signal stays where it was: no effect, and not again before the cool-down."""
    story, stage, first = standing()
    outputs = stage.step(story.feedback(first["id"], "applied").troubled(20, TROUBLE).take())
    assert [record["result"] for record in of(outputs, Topic.OUTCOMES)] == ["no_effect"]
    assert {record["id"] for record in advice(outputs)} == {first["id"]}


def test_applied_and_worse_is_regressed_with_the_undo() -> None:
    """The abort condition ends it at once, and the note says how to undo it."""
    story, stage, first = standing()
    worse = Fault({**POOL.signals, "http.error_ratio": 0.2}, rising=["http.latency.p95", "http.error_ratio"])
    outputs = stage.step(story.feedback(first["id"], "applied").troubled(3, {"duri_core": worse}).take())
    outcome = of(outputs, Topic.OUTCOMES)[0]
    assert outcome["result"] == "regressed"
    assert "DB_POOL_SIZE=10" in outcome["note"]


def test_one_bad_interval_is_no_regression() -> None:
    """A restart makes errors for a moment; that alone does not condemn the change."""
    story, stage, first = standing()
    blip = Fault({**POOL.signals, "http.error_ratio": 0.2}, rising=["http.error_ratio"])
    story.feedback(first["id"], "applied").troubled(1, {"duri_core": blip})
    outputs = stage.step(story.healthy(8).take())
    assert [record["result"] for record in of(outputs, Topic.OUTCOMES)] == ["verified"]


def test_applied_without_data_has_no_effect_and_says_why() -> None:
    """Where nothing is measured any more, the outcome says that rather than guess."""
    story, stage, first = standing()
    story.feedback(first["id"], "applied")
    for _ in range(15):
        story.minute += 1
        story.watermark(0)
    outcome = of(stage.step(story.take()), Topic.OUTCOMES)[0]
    assert (outcome["result"], outcome["after"]) == ("no_effect", None)
    assert outcome["note"].startswith("nothing was measured")


def test_verified_advice_takes_back_the_alternatives() -> None:
    """Once one change has mended the problem, the others are superseded."""
    story = Story().healthy(40).deploy()
    stage = make_stage()
    fault = Fault({**SLOW, "app.event_loop.lag": 0.2}, rising=["http.latency.p95", "app.event_loop.lag"])
    found = advice(stage.step(story.troubled(5, {"duri_core": fault}).take()))
    assert [record["rank"] for record in found] == [1, 2]
    outputs = stage.step(story.feedback(found[0]["id"], "applied").healthy(7).take())
    ends = {record["provenance"]["rule"]: record["state"] for record in advice(outputs)}
    assert ends == {"app-blocking-handler": "verified", "deploy-rollback": "superseded"}


# --- silence, change of mind ------------------------------------------------------------------


def test_three_choices_at_most() -> None:
    """However many rules match, an incident has three recommendations, ranked 1 to 3."""
    everything = Fault(
        {
            **SLOW,
            "app.pool.utilisation": 1.0,
            "pg.temp_bytes.rate": 5e6,
            "pg.dead_tuples": 2e6,
            "redis.evictions.rate": 90.0,
            "node.filesystem.utilisation": 0.97,
            "pg.seq_tup_read.rate": 5e6,
        },
        rising=["http.latency.p95", "node.filesystem.utilisation"],
    )
    story = Story().healthy(40).troubled(20, {"duri_core": everything})
    found = advice(make_stage().step(story.take()))
    assert sorted(record["rank"] for record in found) == [1, 2, 3]


def test_maintenance_silences() -> None:
    """Within a window nothing is advised, and the incident names the reason; after it, a problem that stands is."""
    story, stage = Story().healthy(40).maintenance(30, reason="load test"), make_stage()
    outputs = stage.step(story.troubled(30, TROUBLE).take())
    assert advice(outputs) == []
    [reason] = of(outputs, Topic.INCIDENTS)[-1]["known_reasons"]
    assert reason == "maintenance of duri_core: load test, until 2026-03-02 01:10 UTC"
    assert stage.statistics()["silenced_frames_total"] == 30
    assert rules(advice(stage.step(story.troubled(5, TROUBLE).take()))) == ["app-pool-size"]


def test_maintenance_of_another_service_does_not_silence() -> None:
    """A window names its services."""
    story = Story().healthy(40).maintenance(30, ["duri_brain"]).troubled(5, TROUBLE)
    assert rules(advice(make_stage().step(story.take()))) == ["app-pool-size"]


def test_silence_is_not_recovery() -> None:
    """An incident whose service sends nothing any more closes with these words, not as recovered."""
    story, stage, _ = standing()
    for _ in range(30):
        story.minute += 1
        story.watermark(0)
    found = of(stage.step(story.take()), Topic.INCIDENTS)
    assert "without a recovery seen" in found[-1]["summary"]


def test_settings_that_change_renew_the_advice() -> None:
    """When the knob was turned without a word and it is not enough, the standing advice speaks of the new value."""
    story, stage, first = standing()
    turned = Fault(POOL.signals, {"app.pool_size": 15.0}, rising=POOL.rising)
    found = advice(stage.step(story.troubled(40, {"duri_core": turned}).take()))
    assert found[-1]["id"] == first["id"]
    assert (found[-1]["change"]["current"], found[-1]["change"]["recommended"]) == (15.0, 30.0)


def test_graver_incident_raises_the_advice() -> None:
    """Severity rises with the incident at once, not only at the next update."""
    story, stage, first = standing()
    critical = Fault(POOL.signals, rising=POOL.rising, severity=records.Severity.CRITICAL)
    raised = last(stage.step(story.troubled(2, {"duri_core": critical}).take()))
    assert (raised["id"], raised["severity"]) == (first["id"], "critical")


def test_outputs_are_addressed() -> None:
    """Recommendations are keyed by service, incidents by system; times are event time; headers are CloudEvents."""
    story = Story().healthy(40).troubled(5, TROUBLE)
    outputs = make_stage().step(story.take())
    keys = {output.topic: output.key for output in outputs}
    assert keys == {Topic.INCIDENTS: b"default", Topic.RECOMMENDATIONS: b"duri_core"}
    recommendation = next(output for output in outputs if output.topic is Topic.RECOMMENDATIONS)
    headers = dict(recommendation.headers)
    assert headers["ce_type"] == b"duri.recommendation.v1"
    assert headers["ce_source"] == b"/duri/advise/duri.frames/0"
    record = records.Recommendation.model_validate_json(recommendation.value)
    assert recommendation.timestamp == records.to_ms(record.updated)


def test_generic_advice_gives_way() -> None:
    """What was said from symptoms alone is superseded once the mechanism shows, and does not come back after it."""
    story, stage = Story(), make_stage()
    vague = Fault(SLOW, rising=["http.latency.p95"])
    found = advice(stage.step(story.healthy(40).troubled(5, {"duri_core": vague}).take()))
    assert rules(found) == ["unexplained-regression"]
    found = advice(stage.step(story.troubled(5, TROUBLE).take()))
    states = {record["provenance"]["rule"]: (record["state"], record["rank"]) for record in found}
    assert states["app-pool-size"] == ("proposed", 1)
    assert states["unexplained-regression"][0] == "superseded"
    assert advice(stage.step(story.troubled(10, {"duri_core": vague}).take())) == []


# --- the order of the list --------------------------------------------------------------------------------------


SPILLS = {"pg.temp_bytes.rate": 5e6}
BOTH = Fault({**POOL.signals, **SPILLS}, rising=[*POOL.rising, *SPILLS])


def in_order(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Rule, and why it is not the first, of the newest record of each; first choice first."""
    newest = {record["id"]: record for record in found}.values()
    return [(one["provenance"]["rule"], one["rank_reason"]) for one in sorted(newest, key=lambda one: one["rank"])]


def test_who_stands_keeps_its_place_unless_another_is_clearly_surer() -> None:
    """One that is surer by a hair comes later, and stays behind."""
    story, stage, first = standing()
    later = [first, *advice(stage.step(story.troubled(40, {"duri_core": BOTH}).take()))]
    newest = {record["provenance"]["rule"]: record for record in later}
    assert newest["pg-work-mem"]["confidence"] > newest["app-pool-size"]["confidence"]
    assert {record["rank"] for record in later if record["id"] == first["id"]} == {1}


def test_the_reason_says_what_holds_it_back() -> None:
    """Who stands already, what was applied, an undo, a rule that holds no longer: each is told as it is."""
    story, stage, first = standing()
    found = [first, *advice(stage.step(story.troubled(5, {"duri_core": BOTH}).take()))]
    [(_, none), (rule, reason)] = in_order(found)
    assert (none, rule) == ("", "pg-work-mem")
    assert reason == "not clearly surer than the first choice, which stood before it (0.85 against 0.84)"
    story.feedback(found[-1]["id"], "applied")
    [_, (rule, reason)] = in_order([first, *advice(stage.step(story.troubled(2, {"duri_core": BOTH}).take()))])
    assert (rule, reason) == ("app-pool-size", "behind what was applied, until it is judged")


def test_behind_an_undo_the_reason_says_so() -> None:
    """What made things worse is taken back before anything else is changed."""
    story, stage, first = standing()
    found = [first, *advice(stage.step(story.troubled(5, {"duri_core": BOTH}).take()))]
    worse = Fault({**BOTH.signals, "http.error_ratio": 0.3}, rising=[*BOTH.rising, "http.error_ratio"])
    found += advice(stage.step(story.feedback(first["id"], "applied").troubled(6, {"duri_core": worse}).take()))
    reasons = dict(in_order([record for record in found if record["id"] != first["id"]]))
    assert reasons["pg-work-mem"] == "behind the undo of what made things worse"


def test_behind_what_holds_the_reason_says_since_when_it_does_not() -> None:
    """However sure it was."""
    story, stage = Story(), make_stage()
    found = advice(stage.step(story.healthy(40).troubled(5, {"duri_core": BLOCKED}).take()))
    found += advice(stage.step(story.troubled(8, TROUBLE).take()))
    reasons = dict(in_order(found))
    assert reasons["app-blocking-handler"] == "behind what holds now: its own conditions have not held for 7 min"
