"""A rule's `abort_if`: what holds since the change ends it, what held before is no harm of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.advise.helpers import SLOW, Fault, Story, advice, make_stage, outcomes

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
