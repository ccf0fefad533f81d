"""Answers of people, settings gauges that say it without them, quietened signals, known reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pipeline import records
from pipeline.settings import AdviseSettings
from pipeline.stage import Topic
from tests.advise.helpers import SLOW, Fault, Story, advice, at, make_stage, of, rules

if TYPE_CHECKING:
    from pipeline.advise.stage import AdviseStage

P95 = "http.latency.p95"
POOL = Fault({**SLOW, "app.pool.utilisation": 1.0, "app.pool.acquire.p95": 0.2}, rising=[P95])
IMPATIENT = AdviseSettings(cooldown_s=60.0, expiry_s=600.0)


def first_of(story: Story, stage: AdviseStage, fault: Fault = POOL) -> dict[str, Any]:
    """The first choice for this fault."""
    found = advice(stage.step(story.troubled(4, {"duri_core": fault}).take()))
    return min((record for record in found if record["state"] == "proposed"), key=lambda record: record["rank"])


def mutes(outputs: Any) -> list[dict[str, Any]]:
    """The records that say that signals are quietened."""
    found = [record for record in of(outputs, Topic.OUTCOMES) if "until" in record]
    for record in found:
        records.Muting.model_validate(record)
    return found


# --- settings gauges ----------------------------------------------------------------------------------------------


def test_gauge_at_the_recommended_value_counts_as_applied() -> None:
    """Somebody doubled the pool without a word: applied, and verified like any other."""
    story, stage = Story().healthy(40), make_stage()
    first_of(story, stage)
    done = Fault(settings={"app.pool_size": 20.0})
    outputs = stage.step(story.troubled(9, {"duri_core": done}).take())
    states = [(record["state"], record["answer"]) for record in advice(outputs)]
    assert states[0] == ("applied", "applied: the gauge app.pool_size went from 10 to 20")
    assert states[-1][0] == "verified"


def test_flag_that_changes_counts_as_applied() -> None:
    """What is no number is told by the rule's `applied_if`."""
    full = {"http.error_ratio": 0.15, "redis.oom_errors.rate": 107.0, "redis.memory.utilisation": 1.0}
    story, stage = Story().healthy(40), make_stage()
    first = first_of(story, stage, Fault(full, {"redis.policy_noeviction": 1.0}, rising=["http.error_ratio"]))
    assert first["provenance"]["rule"] == "redis-maxmemory-policy"
    outputs = stage.step(story.healthy(9).take())
    assert [record["state"] for record in advice(outputs)] == ["applied", "verified"]


def test_pre_ping_that_is_switched_on_counts_as_applied() -> None:
    """Its gauge says so."""
    dead = {"app.pool.invalidated": 2.0, "http.error_ratio": 0.05, "http.availability": 0.95}
    fault = Fault(dead, {"app.pool_pre_ping": 0.0}, rising=["http.error_ratio", "app.pool.invalidated"])
    story, stage = Story().healthy(40), make_stage()
    assert first_of(story, stage, fault)["provenance"]["rule"] == "app-pool-pre-ping"
    outputs = stage.step(story.troubled(3, {"duri_core": Fault(settings={"app.pool_pre_ping": 1.0})}).take())
    assert [record["state"] for record in advice(outputs)] == ["applied"]


def rolled_back(version: str) -> tuple[Any, list[Any]]:
    """A deploy that made things slower, its rollback advised; then that version is deployed, and all is well."""
    story, stage = Story().healthy(40).deploy(minutes_ago=0.0), make_stage()
    first = first_of(story, stage, Fault(SLOW, rising=[P95]))
    assert first["provenance"]["rule"] == "deploy-rollback"
    story.deploy(minutes_ago=0.0, id="d8", version=version, previous_version="1.7")
    return first, stage.step(story.healthy(10).take())


def test_a_deploy_of_the_version_that_was_advised_counts_as_applied() -> None:
    """The rollback worked, and its rule learns that."""
    first, outputs = rolled_back("1.6")
    states = [(record["state"], record["answer"]) for record in advice(outputs) if record["id"] == first["id"]]
    assert states[0] == ("applied", "applied: version 1.6 was deployed")
    [outcome] = [one for one in of(outputs, Topic.OUTCOMES) if one.get("recommendation") == first["id"]]
    assert outcome["result"] == "verified"


def test_a_deploy_of_another_version_is_not_what_was_advised() -> None:
    """It may mend things as well; the advice was not taken."""
    first, outputs = rolled_back("1.8")
    assert "applied" not in {record["state"] for record in advice(outputs) if record["id"] == first["id"]}


def test_gauge_that_goes_elsewhere_is_not_applied() -> None:
    """A pool that shrinks is not what was recommended."""
    story, stage = Story().healthy(40), make_stage()
    first_of(story, stage)
    shrunk = Fault(POOL.signals, {"app.pool_size": 5.0}, rising=POOL.rising)
    assert "applied" not in {
        record["state"] for record in advice(stage.step(story.troubled(9, {"duri_core": shrunk}).take()))
    }


# --- quietened signals --------------------------------------------------------------------------------------------


def refused(story: Story, stage: AdviseStage, verdict: str) -> list[Any]:
    """The fault, its first choice refused, then peace."""
    first = first_of(story, stage)
    outputs = stage.step(story.feedback(first["id"], verdict, f"f{story.minute}").take())
    stage.step(story.healthy(60).take())
    return outputs


def test_two_false_alarms_quieten_the_signal_with_a_record() -> None:
    """The second time the signals behind it are muted for a week, and the record says why."""
    story, stage = Story().healthy(40), make_stage(IMPATIENT)
    assert mutes(refused(story, stage, "false_alarm")) == []
    [muting] = mutes(refused(story, stage, "false_alarm"))
    assert (muting["service"], muting["signals"], muting["by"]) == ("duri_core", [P95], "duri")
    assert "refused repeatedly" in muting["reason"]
    assert stage.step(story.troubled(10, {"duri_core": POOL}).take()) == []
    assert stage.statistics()["muted_anomalies_total"] == 10


def test_a_false_alarm_says_nothing_of_signals_that_the_rule_does_not_look_at() -> None:
    """Whatever else was flagged at the time; and what is only worth knowing stood behind nothing."""
    story, stage = Story().healthy(40), make_stage(IMPATIENT)
    beside = Fault(POOL.signals, rising=[P95, "pg.dead_tuples"], aside=["app.pool.utilisation"])
    found = []
    for _ in range(2):
        first = first_of(story, stage, beside)
        found += mutes(stage.step(story.feedback(first["id"], "false_alarm", f"f{story.minute}").take()))
        stage.step(story.healthy(60).take())
    assert [muting["signals"] for muting in found] == [[P95]]


def test_a_false_alarm_about_what_is_shared_counts_for_all_who_share_it() -> None:
    """The server's signals are told of each of them."""
    services = ("duri_brain", "duri_control", "duri_core")
    spills = Fault({**SLOW, "pg.temp_bytes.rate": 5e6}, rising=["pg.temp_bytes.rate", P95])
    story, stage = Story(services).healthy(40), make_stage(IMPATIENT)
    found = []
    for _ in range(2):
        told = advice(stage.step(story.troubled(4, dict.fromkeys(services, spills)).take()))
        first = next(record for record in told if record["provenance"]["rule"] == "pg-work-mem")
        found += mutes(stage.step(story.feedback(first["id"], "false_alarm", f"f{story.minute}").take()))
        stage.step(story.healthy(60).take())
    shared = {muting["service"]: muting["signals"] for muting in found}
    assert sorted(shared) == [*services]
    assert all("pg.temp_bytes.rate" in signals for signals in shared.values())
    assert [service for service in services if P95 in shared[service]] == [first["target"]["service"]]


def test_rejections_quieten_later() -> None:
    """A no is half a doubt: the fourth one quietens."""
    story, stage = Story().healthy(40), make_stage(IMPATIENT)
    found = [mutes(refused(story, stage, "rejected")) for _ in range(4)]
    assert [len(each) for each in found] == [0, 0, 0, 1]


def test_critical_anomalies_speak_nevertheless() -> None:
    """A muted signal that turns critical is heard."""
    story, stage = Story().healthy(40), make_stage()
    until = at(10_000)
    story.put(records.Muting(id="m", at=at(40), signals=[P95], until=until, reason="noise", by="ann"))
    critical = Fault(POOL.signals, rising=POOL.rising, severity=records.Severity.CRITICAL)
    assert stage.step(story.troubled(5, {"duri_core": POOL}).take()) == []
    assert rules(advice(stage.step(story.troubled(5, {"duri_core": critical}).take()))) == ["app-pool-size"]


@pytest.mark.parametrize(
    ("service", "minutes", "silent"), [("duri_brain", 90, False), ("duri_core", 41, False), ("", 90, True)]
)
def test_mutes_have_a_service_and_an_end(service: str, minutes: int, silent: bool) -> None:
    """Another service's mute, or one that is over, silences nothing; one without a service silences all."""
    story, stage = Story().healthy(40), make_stage()
    story.put(records.Muting(id="m", at=at(40), service=service, signals=[P95], until=at(minutes)))
    found = advice(stage.step(story.troubled(9, {"duri_core": POOL}).take()))
    assert (found == []) is silent


# --- known reasons ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dead", "why"),
    [
        (
            Fault({"http.error_ratio": 0.9, "http.availability": 0.1}, rising=["http.error_ratio"]),
            "90% of its requests fail",
        ),
        (Fault(rising=["samples"]), "it sends no data"),
    ],
)
def test_dependency_down_is_the_reason_and_the_cause(dead: Fault, why: str) -> None:
    """A caller of what is down is not advised on; the incident names what is down as its cause."""
    story, stage = Story(("duri_core", "duri_brain")).healthy(40), make_stage()
    outputs = stage.step(story.troubled(6, {"duri_core": POOL, "duri_brain": dead}).take())
    incident = of(outputs, Topic.INCIDENTS)[-1]
    assert incident["cause"] == "duri_brain"
    assert incident["known_reasons"] == [f"duri_core depends on duri_brain, which is down: {why}"]
    assert "duri_core" not in {record["target"]["service"] for record in advice(outputs)}


def test_snapshot_keeps_mutes_and_doubts() -> None:
    """A restart forgets neither what is muted nor what was doubted."""
    story, stage = Story().healthy(40), make_stage(IMPATIENT)
    refused(story, stage, "false_alarm")
    fresh = make_stage(IMPATIENT)
    fresh.restore(stage.snapshot())
    assert len(mutes(refused(story, fresh, "false_alarm"))) == 1
    again = make_stage(IMPATIENT)
    again.restore(fresh.snapshot())
    assert again.step(story.troubled(5, {"duri_core": POOL}).take()) == []


def test_a_maintenance_window_ends_no_advice() -> None:
    """Whether its conditions hold nobody asks meanwhile; after it the same recommendation stands."""
    story, stage = Story().healthy(40), make_stage()
    first = first_of(story, stage)
    outputs = stage.step(story.maintenance(60, ["duri_core"]).troubled(65, {"duri_core": POOL}).take())
    assert of(outputs, Topic.OUTCOMES) == []
    assert {record["id"] for record in advice(outputs)} <= {first["id"]}
    assert stage.statistics()["recommendations_open"] == 1


def test_what_is_muted_is_named_in_the_incident() -> None:
    """Who reads it knows what is not looked at, and why."""
    story, stage = Story().healthy(40), make_stage()
    muting = records.Muting(id="m", at=at(40), service="duri_core", signals=[P95], until=at(600), reason="known")
    story.put(muting)
    both = Fault({**POOL.signals, "pg.temp_bytes.rate": 5e6}, rising=[P95, "pg.temp_bytes.rate"])
    outputs = stage.step(story.troubled(4, {"duri_core": both}).take())
    [reason] = of(outputs, Topic.INCIDENTS)[-1]["known_reasons"]
    assert reason == f"{P95} of duri_core is muted (known), until 2026-03-02 10:00 UTC"


def test_an_answer_that_is_not_legal_leaves_no_trace() -> None:
    """The record says what was legally said."""
    story, stage = Story().healthy(40), make_stage()
    first = first_of(story, stage)
    story.feedback(first["id"], "applied").feedback(first["id"], "rejected", "f2").healthy(9)
    newest = [record for record in advice(stage.step(story.take())) if record["id"] == first["id"]][-1]
    assert (newest["state"], newest["answer"]) == ("verified", "applied by ann")
    assert stage.statistics()["feedback_illegal_total"] == 1
