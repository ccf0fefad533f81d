"""The figures say what was run, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from lab.load import Load
from lab.proof import Proof
from lab.report import summary, table
from lab.scenarios import USUAL

GOOD = Proof(
    "pool-too-small",
    finding="APP_POOL_EXHAUSTED",
    kind="app.pool_size",
    right=True,
    in_top_3=True,
    seconds=15.0,
    standing=1,
    p95_before=0.07,
    p95_during=0.3,
    p95_after=0.08,
    ran=["DB_POOL_SIZE=20"],
    outcome="verified",
)


def test_a_mended_fault_counts_everywhere() -> None:
    told = summary([GOOD, Proof("healthy", right=True)])
    for line in (
        "first choice right: 1 of 1",
        "back within 20 % by its own commands: 1 of 1",
        "verdict equals the truth: 1 of 1",
        "controls with advice: 0 of 1",
        "from onset to right advice: median 15 s, longest 15 s",
    ):
        assert line in told


def test_wrong_advice_is_no_help_and_no_verdict() -> None:
    wrong = replace(GOOD, right=False, in_top_3=False)
    told = summary([GOOD, wrong])
    assert "first choice right: 1 of 2" in told
    assert "back within 20 % by its own commands: 1 of 1" in told


def test_a_command_that_was_refused_is_told() -> None:
    shown = StringIO()
    Console(file=shown, width=200).print(table([replace(GOOD, refused="sql: VACUUM x: no such table")], 200))
    assert "REFUSED: sql: VACUUM x: no such table" in " ".join(shown.getvalue().split())


def test_a_verdict_that_never_came_is_no_right_one() -> None:
    assert "verdict equals the truth: 1 of 2" in summary([GOOD, replace(GOOD, outcome=None)])


def test_still_slow_is_not_back() -> None:
    assert "by its own commands: 0 of 1" in summary([replace(GOOD, p95_after=0.2)])


def test_advice_on_a_control_or_before_the_fault_is_told() -> None:
    told = summary([Proof("healthy", finding="X", kind="y"), replace(GOOD, early=1)])
    assert "controls with advice: 1 of 1" in told
    assert "runs with advice in the healthy phase: 1 of 2" in told


def test_a_healthy_phase_is_held_to_the_guides_response_time_for_its_load() -> None:
    """Under stress a second is asked, under normal load a fifth of it."""
    slow = replace(GOOD, p95_before=0.3)
    told = summary([replace(slow, scenario=name) for name in ("normal", "peak", "stress")])
    assert "healthy phases within the guide's response time: 2 of 3" in told


def test_what_could_not_run_counts_nowhere() -> None:
    assert "first choice right: nothing to tell" in summary([Proof("cpu-limit", skipped="no cgroup")])


def test_wrong_advice_is_right_where_its_verdict_says_so() -> None:
    """Both kinds of it count among the verdicts, and not among the first choices."""
    nothing = replace(GOOD, answer="nothing", outcome="no_effect")
    harm = replace(GOOD, answer="harm", outcome="verified")
    told = summary([GOOD, nothing, harm])
    assert "verdict equals the truth: 2 of 3" in told
    assert "first choice right: 1 of 1" in told


def test_undo_is_told_apart_by_whether_it_brought_the_trouble_back() -> None:
    """What was verified: it is to be back. What regressed: its undo is to be advised, and verified."""
    undone = replace(GOOD, undo_ran=["DB_POOL_SIZE=2"], p95_undone=0.3)
    harm = replace(GOOD, answer="harm", outcome="regressed", undo_outcome="verified")
    told = summary([undone, replace(undone, p95_undone=0.07), harm, replace(harm, undo_outcome="not advised")])
    assert "trouble again once its own undo was run: 1 of 2" in told
    assert "undo advised for what regressed, done, and verified: 1 of 2" in told


def test_knobs_that_an_undo_has_not_put_back_are_named() -> None:
    """In the table; the figures count the undos that left none."""
    whole = replace(GOOD, undo_ran=["DB_POOL_SIZE=2"], p95_undone=0.3, knobs_differ={})
    left = replace(whole, knobs_differ={"redis save": ["900 1", None], "postgres work_mem": ["64", "65"]})
    harm = replace(GOOD, answer="harm", outcome="regressed", undo_outcome="verified", knobs_differ={})
    assert "every knob as before the change once its undo was run: 2 of 3" in summary([whole, left, harm, GOOD])
    assert shown(whole).endswith("verified (undone: trouble again, every knob as before)")
    differing = "not as before: redis save 900 1 → none, postgres work_mem 64 → 65"
    assert shown(left).endswith(f"verified (undone: trouble again, {differing})")
    assert shown(harm).endswith("regressed (its undo: verified, every knob as before)")
    assert shown(replace(GOOD)).endswith("verified")


def shown(proof: Proof, width: int = 79) -> str:
    """The table of one run, in one line."""
    out = StringIO()
    Console(file=out, width=width).print(table([proof], width))
    return " ".join(out.getvalue().split())


@pytest.mark.parametrize("width", [80, 200])
def test_table_says_it_all_on_any_terminal(width: int) -> None:
    """Beside or below one another."""
    undone = replace(GOOD, undo_ran=["DB_POOL_SIZE=2"], p95_undone=0.3)
    for part in ("pool-too-small", "right after 15 s", "70 / 300 / 80 / 300 ms", "trouble again"):
        assert part in shown(undone, width)
    assert "no cgroup" in shown(Proof("cpu-limit", skipped="no cgroup"), width)


def test_results_are_json_although_nobody_came() -> None:
    """A phase without a request has no 95th percentile: null, which every reader of JSON takes."""
    load = Load({}, replace(USUAL, users=0))
    assert json.loads(json.dumps({"p95": load.p95("duri_core", 0.0, 1.0)}, allow_nan=False)) == {"p95": None}
