"""One PostgreSQL, one Redis, one host of several services: one recommendation, which names the resource and them."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.records import Recommendation
from pipeline.stage import Topic
from pipeline.views import words
from tests.advise.helpers import HEALTHY, SLOW, Fault, Story, advice, make_stage, of, rules

SERVICES = ("duri_brain", "duri_control", "duri_core")
SPILLS = Fault({"pg.temp_bytes.rate": 5e6}, rising=["pg.temp_bytes.rate"])
SLOW_SPILLS = Fault({**SLOW, "pg.temp_bytes.rate": 5e6}, rising=["pg.temp_bytes.rate", "http.latency.p95"])


def told(story: Story, stage: Any) -> list[dict[str, Any]]:
    """What is recommended of it."""
    return advice(stage.step(story.take()))


def test_what_several_services_use_is_one_recommendation() -> None:
    """Of the resource, with the services that it is for; commands are those of one server anyway."""
    story = Story(SERVICES).healthy(40).troubled(5, dict.fromkeys(SERVICES, SPILLS))
    found = told(story, make_stage())
    assert len({record["id"] for record in found}) == 1
    record = Recommendation.model_validate(found[-1])
    assert record.target.shared_by == list(SERVICES)
    assert record.why.reason.startswith("Queries of duri_brain, duri_control and duri_core write 4883 KiB")
    assert words.subject(record) == "postgresql of 3 services"


def test_servers_of_their_own_are_advised_on_one_by_one() -> None:
    """Their signals are not the same."""
    other = Fault({"pg.temp_bytes.rate": 6e6}, rising=["pg.temp_bytes.rate"])
    story = Story(SERVICES).healthy(40).troubled(5, {"duri_brain": SPILLS, "duri_core": other})
    found = told(story, make_stage())
    assert {record["target"]["service"] for record in found} == {"duri_brain", "duri_core"}
    assert all(record["target"]["shared_by"] == [] for record in found)
    assert all("duri_brain and" not in record["why"]["reason"] for record in found)


def test_it_stays_one_where_services_join_and_is_of_the_one_that_stands() -> None:
    """Who joins later is named in it; who suffers most does not take it over."""
    story, stage = Story(SERVICES), make_stage()
    first = told(story.healthy(40).troubled(5, {"duri_control": SPILLS}), stage)
    assert first[-1]["target"]["shared_by"] == []
    joined = told(story.troubled(4, {"duri_control": SPILLS, "duri_core": SLOW_SPILLS}), stage)
    assert [record["id"] for record in joined if record["provenance"]["rule"] == "pg-work-mem"] == [first[-1]["id"]]
    assert joined[-1]["target"]["service"] == "duri_control"
    assert joined[-1]["target"]["shared_by"] == ["duri_control", "duri_core"]


def test_what_was_tried_is_not_proposed_again_for_another_of_them() -> None:
    """It cools down for all who share it."""
    story, stage = Story(SERVICES), make_stage()
    [*_, record] = told(story.healthy(40).troubled(5, dict.fromkeys(SERVICES, SPILLS)), stage)
    story.feedback(record["id"], "rejected").troubled(5, dict.fromkeys(SERVICES, SPILLS))
    assert rules(each for each in told(story, stage) if each["id"] != record["id"]) == []


def test_a_services_own_is_never_shared() -> None:
    """The pools of two services are two, however alike they are."""
    pool = Fault({**SLOW, "app.pool.utilisation": 1.0, "app.pool.acquire.p95": 0.2}, rising=["http.latency.p95"])
    found = told(Story(SERVICES).healthy(40).troubled(5, {"duri_brain": pool, "duri_core": pool}), make_stage())
    assert all(record["target"]["shared_by"] == [] for record in found)


def test_harm_to_any_of_them_is_harm_of_the_change() -> None:
    """The one it is told of is well; another one that shares the server fails since: the undo is proposed for it."""
    story, stage = Story(SERVICES), make_stage()
    [*_, record] = told(story.healthy(40).troubled(8, dict.fromkeys(SERVICES, SPILLS)), stage)
    assert record["target"]["service"] != "duri_core"
    failing = Fault({"http.error_ratio": 0.3, "http.availability": 0.7}, rising=["http.error_ratio"])
    since = stage.step(story.feedback(record["id"], "applied").troubled(6, {"duri_core": failing}).take())
    [outcome] = [each for each in of(since, Topic.OUTCOMES) if each["recommendation"] == record["id"]]
    assert (outcome["result"], outcome["service"]) == ("regressed", record["target"]["service"])
    assert outcome["note"].startswith("in duri_core, 30 % of the requests fail")
    [undo] = [each for each in advice(since) if each["kind"].endswith(".undo")]
    assert undo["target"]["service"] == "duri_core"
    assert undo["target"]["shared_by"] == list(SERVICES)
    assert undo["why"]["evidence"][0]["observed"] == pytest.approx(0.3)


def test_the_undo_for_the_one_that_was_harmed_is_verified_there() -> None:
    """It fails no longer, whatever the others do."""
    story, stage = Story(SERVICES), make_stage()
    [*_, record] = told(story.healthy(40).troubled(8, dict.fromkeys(SERVICES, SPILLS)), stage)
    failing = Fault({"http.error_ratio": 0.3, "http.availability": 0.7}, rising=["http.error_ratio"])
    since = advice(stage.step(story.feedback(record["id"], "applied").troubled(6, {"duri_core": failing}).take()))
    [undo] = [each for each in since if each["kind"].endswith(".undo")]
    story.feedback(undo["id"], "applied", "f2").healthy(8)
    ended = [each for each in of(stage.step(story.take()), Topic.OUTCOMES) if each["recommendation"] == undo["id"]]
    assert [(each["result"], each["service"]) for each in ended] == [("verified", "duri_core")]


def test_what_was_changed_elsewhere_is_not_the_shared_changes_doing() -> None:
    """A bad deploy of another service that shares the server, a minute after the change: it is rolled back, no more."""
    story, stage = Story(SERVICES), make_stage()
    [*_, record] = told(story.healthy(40).troubled(8, dict.fromkeys(SERVICES, SPILLS)), stage)
    failing = Fault({"http.error_ratio": 0.3, "http.availability": 0.7}, rising=["http.error_ratio"])
    story.feedback(record["id"], "applied").healthy(1).deploy("duri_core", 0.0)
    since = stage.step(story.troubled(9, {"duri_core": failing}).take())
    ended = [each for each in of(since, Topic.OUTCOMES) if each["recommendation"] == record["id"]]
    assert [each["result"] for each in ended] == ["verified"]
    assert {each["kind"] for each in advice(since) if each["state"] == "proposed"} == {"deployment.rollback"}


def test_what_is_mended_ends_only_what_has_no_reason_any_more() -> None:
    """Another service's own trouble, in the same incident, is advised on as before."""
    story, stage = Story(SERVICES), make_stage()
    pool = Fault({**SLOW, "app.pool.utilisation": 1.0, "app.pool.acquire.p95": 0.2}, rising=["http.latency.p95"])
    full = Fault(
        {**SLOW, "redis.evictions.rate": 214.0, "redis.hit_ratio": 0.3, "redis.memory.utilisation": 1.0},
        rising=["http.latency.p95", "redis.evictions.rate"],
        falling=["redis.hit_ratio"],
    )
    found = told(story.healthy(40).troubled(5, {"duri_brain": pool, "duri_core": full}), stage)
    by_rule = {each["provenance"]["rule"]: each["id"] for each in found}
    story.feedback(by_rule["app-pool-size"], "applied")
    outputs = stage.step(story.troubled(12, {"duri_core": full}).take())
    assert [each["result"] for each in of(outputs, Topic.OUTCOMES)] == ["verified"]
    assert not [each for each in advice(outputs) if each["state"] == "superseded"]


def test_it_stands_while_its_conditions_hold_for_any_of_them() -> None:
    """The one it is told of is flagged no longer; another one is, and the server spills as before."""
    story, stage = Story(SERVICES), make_stage()
    [*_, record] = told(story.healthy(40).troubled(5, dict.fromkeys(SERVICES, SPILLS)), stage)
    quiet = Fault({"pg.temp_bytes.rate": 5e6})
    assert record["target"]["service"] == "duri_brain"
    later = stage.step(story.troubled(70, {**dict.fromkeys(SERVICES, quiet), "duri_core": SPILLS}).take())
    assert of(later, Topic.OUTCOMES) == []
    assert {each["id"] for each in advice(later)} <= {record["id"]}
    assert stage.statistics()["recommendations_open"] == 1


APART = ("a_service", "b_service", "c_service")
"""They do not call each other: what is wrong with each is an incident of its own."""
QUIET = Fault({"pg.temp_bytes.rate": 5e6})
"""The same server spills, and nothing is flagged."""


def test_one_servers_trouble_is_one_recommendation_in_however_many_incidents() -> None:
    """Each incident names it."""
    story, stage = Story(APART), make_stage()
    outputs = stage.step(story.healthy(40).troubled(8, dict.fromkeys(APART, SPILLS)).take())
    [identity] = {record["id"] for record in advice(outputs)}
    assert advice(outputs)[-1]["target"]["shared_by"] == list(APART)
    assert stage.statistics()["recommendations_open"] == 1
    newest = {record["id"]: record for record in of(outputs, Topic.INCIDENTS)}
    assert [record["recommendations"] for record in newest.values()] == [[identity]] * 3


def test_who_shares_the_server_need_not_be_flagged() -> None:
    """A change to it is a change for all: harm to any of them is to be found out."""
    found = told(
        Story(SERVICES).healthy(40).troubled(5, {**dict.fromkeys(SERVICES, QUIET), "duri_core": SPILLS}), make_stage()
    )
    assert found[-1]["target"]["service"] == "duri_core"
    assert found[-1]["target"]["shared_by"] == list(SERVICES)


def test_it_goes_on_in_the_incident_that_is_left() -> None:
    """The one in which it was opened is over; the server spills as before."""
    story, stage = Story(APART), make_stage()
    [*_, record] = told(story.healthy(40).troubled(8, dict.fromkeys(APART, SPILLS)), stage)
    assert record["target"]["service"] == "a_service"
    later = stage.step(story.troubled(70, {**dict.fromkeys(APART, QUIET), "c_service": SPILLS}).take())
    assert [each["services"] for each in of(later, Topic.INCIDENTS) if each["state"] == "closed"] == [
        ["a_service"],
        ["b_service"],
    ]
    assert of(later, Topic.OUTCOMES) == []
    assert stage.statistics()["recommendations_open"] == 1
    over = stage.step(story.troubled(20).take())
    assert [(each["recommendation"], each["result"]) for each in of(over, Topic.OUTCOMES)] == [
        (record["id"], "expired")
    ]


def test_what_turns_out_to_be_one_server_needs_one_recommendation() -> None:
    """Its readings came in two parts at first."""
    story, stage = Story(APART), make_stage()
    other = Fault({"pg.temp_bytes.rate": 6e6}, rising=["pg.temp_bytes.rate"])
    two = told(story.healthy(40).troubled(5, {"a_service": SPILLS, "b_service": other}), stage)
    assert len({record["id"] for record in two}) == 2
    one = told(story.troubled(3, {"a_service": SPILLS, "b_service": SPILLS}), stage)
    assert sorted({record["id"]: record["state"] for record in one}.values()) == ["proposed", "superseded"]
    assert stage.statistics()["recommendations_open"] == 1


def test_two_servers_that_are_down_look_alike_and_are_two() -> None:
    """Zeros tell nothing: services that have nothing to do with each other need not share a server."""
    names = [name for name in HEALTHY if name.startswith("pg.")]
    down = Fault({"pg.up": 0.0, "http.error_ratio": 0.3}, rising=["http.error_ratio"], without=names)
    found = told(Story(APART).healthy(40).troubled(5, {"a_service": down, "b_service": down}), make_stage())
    assert {record["target"]["service"] for record in found} == {"a_service", "b_service"}
