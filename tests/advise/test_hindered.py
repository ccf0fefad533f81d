"""Advice whose own `abort_if` holds already: behind what can be done now, and why is told."""

from __future__ import annotations

from typing import Any

from tests.advise.helpers import SLOW, Fault, Story, advice, advise_on, make_stage, rules

MEMORY = "node.memory.utilisation"
SPILLS = {**SLOW, "pg.temp_bytes.rate": 5e6}
BOTH = {**SPILLS, "app.pool.utilisation": 1.0}
"""Sorts spill to disk, and the pool is full."""


def fault(signals: dict[str, float], memory: float) -> Fault:
    """That, with so much of the node's memory in use."""
    return Fault({**signals, MEMORY: memory}, rising=["http.latency.p95"])


def newest(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The last record of each rule."""
    return {record["provenance"]["rule"]: record for record in found}


def test_what_would_be_undone_at_once_is_no_first_choice() -> None:
    """More memory for sorts is surer, but the node has none left: the pool goes first."""
    assert rules(advise_on(fault(BOTH, memory=0.5)))[:2] == ["pg-work-mem", "app-pool-size"]
    found = advise_on(fault(BOTH, memory=0.97))
    assert rules(found)[:2] == ["app-pool-size", "pg-work-mem"]
    lowered = newest(found)["pg-work-mem"]
    reason = f"{MEMORY} is 95 % or more, at 97 %, a reason to take this change back"
    assert lowered["rank_reason"] == f"behind what can be done now: {reason}"
    assert lowered["confidence"] > newest(found)["app-pool-size"]["confidence"]


def test_alone_it_says_what_is_in_the_way() -> None:
    """Who reads it knows the finding, and what to mend before."""
    [only] = newest(advise_on(fault(SPILLS, memory=0.97))).values()
    assert only["rank"] == 1
    assert f"Not before that is mended: {MEMORY} is 95 % or more, at 97 %" in only["why"]["reason"]


def test_it_goes_first_again_once_nothing_is_in_the_way() -> None:
    """Told as soon as it is so for three intervals; one that comes and goes moves nothing."""
    story, stage = Story(), make_stage()
    stage.step(story.healthy(40).troubled(6, {"duri_core": fault(BOTH, memory=0.97)}).take())
    for memory in (0.5, 0.97, 0.5, 0.5):
        told = advice(stage.step(story.troubled(1, {"duri_core": fault(BOTH, memory=memory)}).take()))
        assert all(record["rank"] == 2 for record in told if record["provenance"]["rule"] == "pg-work-mem")
    told = advice(stage.step(story.troubled(1, {"duri_core": fault(BOTH, memory=0.5)}).take()))
    assert rules(told)[:2] == ["pg-work-mem", "app-pool-size"]
    assert "Not before" not in newest(told)["pg-work-mem"]["why"]["reason"]


def test_a_version_that_took_all_connections_is_rolled_back() -> None:
    """What the change is to end is not in its way."""
    story, stage = Story(), make_stage()
    signals = {**SLOW, "pg.connections.utilisation": 0.98, "pg.connections": 196.0, "http.error_ratio": 0.3}
    full = Fault(signals, rising=["http.latency.p95", "http.error_ratio"])
    story.healthy(40).deploy(minutes_ago=1).troubled(6, {"duri_core": full})
    rollback = newest(advice(stage.step(story.take())))["deploy-rollback"]
    assert "Not before" not in rollback["why"]["reason"]
    assert "take this change back" not in rollback["rank_reason"]
