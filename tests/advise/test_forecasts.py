"""What runs out, seen before it has."""

from __future__ import annotations

from pipeline import records
from pipeline.stage import Topic
from tests.advise.helpers import SLOW, Fault, Story, advice, make_stage, of, rules

P95 = "http.latency.p95"
FILLING = Fault({"node.filesystem.utilisation": lambda minute: 0.5 + 0.002 * max(0, minute - 20)})


def test_filling_disk_is_advised_on_before_any_threshold() -> None:
    """At two thirds full and nothing flagged: hours ahead, with moment and interval."""
    story = Story().healthy(20).troubled(60, {"duri_core": FILLING})
    outputs = make_stage().step(story.take())
    found = advice(outputs)
    assert rules(found) == ["node-disk-filling"]
    [runs_out] = found[0]["why"]["runs_out"]
    assert runs_out["what"] == "node.filesystem.utilisation"
    assert runs_out["earliest_at"] <= runs_out["expected_at"] <= runs_out["latest_at"]
    assert of(outputs, Topic.INCIDENTS)[-1]["runs_out"][0]["what"] == "node.filesystem.utilisation"


def test_noise_and_swings_run_out_of_nothing() -> None:
    """Memory that goes up and down by a tenth, and a disk that grows a percent a day, are no anomaly."""
    swinging = Fault(
        {
            "container.memory.utilisation": lambda minute: 0.6 + 0.05 * ((minute // 20) % 2),
            "node.filesystem.utilisation": lambda minute: 0.6 + 0.01 * minute / 1440,
        }
    )
    assert make_stage().step(Story().troubled(180, {"duri_core": swinging}).take()) == []


def test_error_budget_stands_in_the_incident() -> None:
    """A core that fails two percent of its requests has a month's budget left for a day and a half."""
    failing = Fault({**SLOW, "http.error_ratio": 0.02, "http.availability": 0.98}, rising=[P95, "http.error_ratio"])
    story = Story().healthy(10).troubled(60, {"duri_core": failing})
    stage = make_stage()
    found = advice(stage.step(story.take()))
    [runs_out] = found[-1]["why"]["runs_out"]
    assert runs_out["what"] == "error_budget"
    last = records.to_ms(records.Tick.model_validate({"at": runs_out["expected_at"]}).at)
    days = (last - records.to_ms(records.Tick.model_validate({"at": found[-1]["updated"]}).at)) / 86_400_000
    assert 1.0 < days < 3.0


def test_snapshot_keeps_the_budgets() -> None:
    """What was spent is not forgotten by a restart."""
    story, stage = Story().healthy(30), make_stage()
    stage.step(story.take())
    fresh = make_stage()
    fresh.restore(stage.snapshot())
    assert fresh._forecasts.budgets == stage._forecasts.budgets != {}
