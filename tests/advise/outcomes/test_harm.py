"""What counts as harm of a change: more than chance, of now, and silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pipeline.advise.incidents.topology import Topology
from pipeline.records import Detector
from tests.advise.helpers import HEALTHY, SLOW, Fault, Story, advice, make_stage, outcomes

if TYPE_CHECKING:
    from pipeline.advise.stage import AdviseStage

P95 = "http.latency.p95"
ERRORS = "http.error_ratio"
POOL = Fault({**SLOW, "app.pool.utilisation": 1.0, "app.pool.acquire.p95": 0.2}, rising=[P95])
FAILING = Fault({ERRORS: 0.3, "http.availability": 0.7}, rising=[ERRORS])
UNASKED = Fault(without=[ERRORS, "http.availability", "http.rps", *SLOW])
GONE = Fault(without=[*HEALTHY], rising=["samples"], detector=Detector.ABSENT)
SPILLS = {"pg.temp_bytes.rate": 5e6}


def applied() -> tuple[Story, AdviseStage, dict[str, Any]]:
    """Somebody has just made the pool larger."""
    story, stage = Story(), make_stage()
    found = advice(stage.step(story.healthy(40).troubled(8, {"duri_core": POOL}).take()))
    first = min(found, key=lambda record: record["rank"])
    stage.step(story.feedback(first["id"], "applied").take())
    return story, stage, first


def test_what_was_read_before_counts_once() -> None:
    """An interval of failures, as at a restart, and then none in which anybody asked: that is one interval of harm."""
    story, stage, _ = applied()
    story.troubled(1, {"duri_core": FAILING}).troubled(3, {"duri_core": UNASKED}).healthy(9)
    assert [each["result"] for each in outcomes(story, stage)] == ["verified"]


def test_nobody_asking_in_between_does_not_make_it_well() -> None:
    """Fails, says nothing, fails: worse whenever there was something to see."""
    story, stage, _ = applied()
    story.troubled(1, {"duri_core": FAILING}).troubled(1, {"duri_core": UNASKED}).troubled(1, {"duri_core": FAILING})
    assert [each["result"] for each in outcomes(story, stage)] == ["regressed"]


def test_a_service_that_falls_silent_is_harmed() -> None:
    """Silence is no recovery: the undo is proposed at once, and holds once there is data again."""
    story, stage, first = applied()
    since = stage.step(story.healthy(1).troubled(4, {"duri_core": GONE}).take())
    [undo] = [each for each in advice(since) if each["kind"].endswith(".undo")]
    assert undo["why"]["reason"] == f"Since pool_size was changed to 20 ({first['id']}): no data comes."
    assert undo["verification"]["text"] == "http.rps is measured, 5 min after the undo"
    told = outcomes(story.feedback(undo["id"], "applied", "f2").healthy(9), stage)
    assert [(each["recommendation"], each["result"]) for each in told] == [(undo["id"], "verified")]


def test_a_short_silence_is_a_restart() -> None:
    story, stage, _ = applied()
    story.troubled(1, {"duri_core": GONE}).healthy(9)
    assert [each["result"] for each in outcomes(story, stage)] == ["verified"]


def verdict(services: int, seed: int, *, failing: float = 0.002) -> str:
    """What comes of a change to a PostgreSQL of so many services, each with two requests a second."""
    rng, names = np.random.default_rng(seed), [f"s{number:02d}" for number in range(services)]

    def errors(share: float) -> Any:
        return lambda _: int(rng.binomial(20, share)) / 20.0

    base = {"http.rps": 2.0, ERRORS: errors(0.002)}
    story = Story(names, frame_s=10.0)
    stage = make_stage(frame_s=10.0, topology=Topology({names[0]: names[1:]}))
    spilling = Fault({**base, **SPILLS}, rising=[*SPILLS])
    healthy = dict.fromkeys(names, Fault(base))
    found = advice(stage.step(story.troubled(60, healthy).troubled(8, dict.fromkeys(names, spilling)).take()))
    first = min(found, key=lambda record: record["rank"])
    since = {**healthy, names[-1]: Fault({**base, ERRORS: errors(failing)})}
    [told] = outcomes(story.feedback(first["id"], "applied").troubled(60, since), stage)
    return str(told["result"])


@pytest.mark.parametrize("services", [1, 4])
def test_errors_by_chance_are_no_harm(services: int) -> None:
    """One of twenty requests fails now and then, here and there; that is what one of five hundred looks like."""
    assert [verdict(services, seed) for seed in range(4)] == ["verified"] * 4


def test_errors_beyond_chance_are_harm_whoever_has_them() -> None:
    """Another service that shares it fails a third of its requests since."""
    assert verdict(4, 0, failing=0.33) == "regressed"
