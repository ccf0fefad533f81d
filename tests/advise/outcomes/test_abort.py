"""A rule's `abort_if`: what holds since the change ends it, what held before is no harm of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from pipeline.stage import Topic
from tests.advise.helpers import SLOW, Fault, Story, advice, make_stage, of, outcomes

SPILLS = {**SLOW, "pg.temp_bytes.rate": 5e6}
MEMORY = "node.memory.utilisation"


def outcome(before: float, after: float) -> dict[str, Any]:
    """What comes of a `work_mem` that is raised and helps, with so much of the node's memory in use."""
    story, stage = Story(), make_stage()
    troubled = Fault({**SPILLS, MEMORY: before}, rising=["http.latency.p95"])
    found = advice(stage.step(story.healthy(40).troubled(8, {"duri_core": troubled}).take()))
    first = min(found, key=lambda one: one["rank"])
    assert MEMORY in first["verification"]["abort_if"]
    story.feedback(first["id"], "applied").troubled(9, {"duri_core": Fault({MEMORY: after})})
    return next(one for one in outcomes(story, stage) if one["recommendation"] == first["id"])


def test_what_holds_since_the_change_is_its_harm() -> None:
    """The undo is named."""
    found = outcome(before=0.5, after=0.97)
    assert found["result"] == "regressed"
    assert MEMORY in found["note"]


@pytest.mark.parametrize("after", [0.5, 0.96])
def test_what_held_before_is_none(after: float) -> None:
    """Nearly all memory was in use when it was advised."""
    assert outcome(before=0.96, after=after)["result"] == "verified"


class Guarded(NamedTuple):
    """A fault, the rule that mends it, and what its change must not bring about."""

    rule: str
    fault: Fault
    signal: str
    free: float
    past: float


GUARDED = [
    Guarded(
        "redis-maxmemory-policy",
        Fault(
            {"http.error_ratio": 0.15, "redis.oom_errors.rate": 107.0, "redis.memory.utilisation": 1.0},
            {"redis.policy_noeviction": 1.0},
            rising=["http.error_ratio"],
        ),
        MEMORY,
        free=0.5,
        past=0.97,
    ),
    Guarded(
        "pg-connection-leak",
        Fault(
            {"http.error_ratio": 0.15, "pg.connections.utilisation": 0.98, "pg.connections": 196.0},
            rising=["http.error_ratio"],
        ),
        "app.pool.utilisation",
        free=0.3,
        past=1.0,
    ),
    Guarded(
        "container-load-balancing",
        Fault(
            {"http.latency.p95": 0.9, "http.latency.mean": 0.4, "container.cpu.imbalance": 2.0},
            {"container.replicas": 3.0},
            rising=["http.latency.p95"],
        ),
        "container.cpu.utilisation",
        free=0.4,
        past=0.98,
    ),
    Guarded(
        "deploy-rollback",
        Fault(SLOW, rising=["http.latency.p95"]),
        "pg.connections.utilisation",
        free=0.3,
        past=0.97,
    ),
]
HELD_BEFORE = [each for each in GUARDED if each.rule != "pg-connection-leak"]
"""A leak is none while the service's own pool is full."""


def story_of(guarded: Guarded, before: float, after: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What comes of a change that mends its fault, with these values of the guard; and the undos proposed."""
    story, stage = Story(), make_stage()
    troubled = Fault(
        {**guarded.fault.signals, guarded.signal: before}, guarded.fault.settings, rising=guarded.fault.rising
    )
    story.healthy(40)
    if guarded.rule == "deploy-rollback":
        story.deploy()
    found = advice(stage.step(story.troubled(8, {"duri_core": troubled}).take()))
    mine = next(record for record in found if record["provenance"]["rule"] == guarded.rule)
    mended = Fault({guarded.signal: after}, {**guarded.fault.settings, "redis.policy_noeviction": 0.0})
    outputs = stage.step(story.feedback(mine["id"], "applied").troubled(20, {"duri_core": mended}).take())
    outcome = next(one for one in of(outputs, Topic.OUTCOMES) if one["recommendation"] == mine["id"])
    return outcome, [record for record in advice(outputs) if record["kind"].endswith(".undo")]


@pytest.mark.parametrize("guarded", GUARDED, ids=lambda each: each.rule)
def test_a_guard_that_is_passed_ends_the_change(guarded: Guarded) -> None:
    """The mechanism is mended, at too high a price: the undo is proposed at once."""
    outcome, undos = story_of(guarded, before=guarded.free, after=guarded.past)
    assert outcome["result"] == "regressed"
    assert f"{guarded.signal} is 95 % or more" in outcome["note"]
    assert {undo["verification"]["signal"] for undo in undos} == {guarded.signal}


@pytest.mark.parametrize("guarded", GUARDED, ids=lambda each: each.rule)
def test_a_guard_that_holds_off_lets_it_be_verified(guarded: Guarded) -> None:
    """The same change without that."""
    outcome, undos = story_of(guarded, before=guarded.free, after=guarded.free)
    assert (outcome["result"], undos) == ("verified", [])


@pytest.mark.parametrize("guarded", HELD_BEFORE, ids=lambda each: each.rule)
def test_a_guard_that_was_passed_before_is_not_the_changes_doing(guarded: Guarded) -> None:
    """Who applied it in spite of the warning is told whether it helped."""
    outcome, undos = story_of(guarded, before=guarded.past, after=guarded.past)
    assert (outcome["result"], undos) == ("verified", [])
