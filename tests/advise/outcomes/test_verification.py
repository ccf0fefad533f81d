"""Before and after: applied recommendations, mended, not mended, made worse."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.stage import Topic
from tests.advise.helpers import GIB, SLOW, Fault, Story, advice, make_stage, of, outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.advise.stage import AdviseStage

P95 = "http.latency.p95"
ROWS = "pg.seq_tup_read.rate"
POOL = Fault({**SLOW, "app.pool.utilisation": 1.0, "app.pool.acquire.p95": 0.2}, rising=[P95])
FAILING = Fault({**POOL.signals, "http.error_ratio": 0.2, "http.availability": 0.8}, rising=[P95, "http.error_ratio"])
SLOWER = Fault({name: 3 * value for name, value in SLOW.items()}, rising=[P95])


def applied(fault: Fault = POOL, minutes: int = 8) -> tuple[Story, AdviseStage, dict[str, Any]]:
    """A story whose first recommendation somebody has just applied, and the stage that made it."""
    story, stage = Story(), make_stage()
    found = advice(stage.step(story.healthy(40).troubled(minutes, {"duri_core": fault}).take()))
    first = min(found, key=lambda record: record["rank"])
    stage.step(story.feedback(first["id"], "applied").take())
    return story, stage, first


def test_the_note_is_in_words() -> None:
    """Signal, what it is compared with, value and unit; no expression."""
    story, stage, _ = applied()
    [outcome] = outcomes(story.healthy(8), stage)
    assert outcome["note"] == "app.pool.utilisation is below 85 % 5 min after the change"


def test_how_it_will_be_seen_is_told_in_words() -> None:
    """For people who decide whether to apply it, and for the undo of it."""
    _, stage, first = applied()
    assert first["verification"]["text"] == (
        "app.pool.utilisation is below 85 %, 5 min after the change; "
        "take it back where pg.connections.utilisation is 95 % or more"
    )
    story = Story(minute=48)
    [undo] = [
        record
        for record in advice(stage.step(story.troubled(7, {"duri_core": FAILING}).take()))
        if record["kind"].endswith(".undo")
    ]
    assert undo["verification"]["text"] == (
        "http.error_ratio is below what was usual plus 1 percentage point, 5 min after the undo"
    )


def test_what_was_so_when_it_was_advised_is_told_as_past() -> None:
    """Once somebody has changed it, its reason no longer says that all connections are in use."""
    story, stage, first = applied()
    told = advice(stage.step(story.healthy(8).take()))
    [verified] = [each for each in told if each["state"] == "verified"]
    assert verified["why"]["reason"] == f"When it was advised: {first['why']['reason']}"


def test_outcome_has_both_windows() -> None:
    """Medians, counts, p and effect size of the target and of what must not get worse."""
    story, stage, _ = applied()
    [outcome] = outcomes(story.healthy(8), stage)
    target = outcome["compared"][0]
    assert (outcome["result"], target["signal"]) == ("verified", "app.pool.utilisation")
    assert (target["before"], target["after"], target["delta"]) == (1.0, 0.3, -1.0)
    assert target["intervals_before"] >= 7
    assert target["intervals_after"] >= 5
    assert target["p"] < 0.01
    assert {P95, "http.error_ratio"} <= {each["signal"] for each in outcome["compared"]}


def test_it_held_before_too_is_no_effect() -> None:
    """A condition that was true all the time proves nothing."""
    story, stage, _ = applied(Fault({**SLOW, "app.event_loop.lag": 0.16}, rising=[P95, "app.event_loop.lag"]))
    still = Fault({**SLOW, "app.event_loop.lag": 0.15}, rising=[P95, "app.event_loop.lag"])
    assert [each["result"] for each in outcomes(story.troubled(9, {"duri_core": still}), stage)] == ["no_effect"]


def test_what_is_told_an_interval_late_is_verified() -> None:
    """The pool was larger already when somebody said so."""
    story, stage = Story(frame_s=5.0).healthy(240), make_stage(frame_s=5.0)
    found = advice(stage.step(story.troubled(4, {"duri_core": POOL}).take()))
    first = min(found, key=lambda record: record["rank"])
    story.healthy(1).feedback(first["id"], "applied").healthy(70)
    assert [each["result"] for each in outcomes(story, stage)] == ["verified"]


@pytest.mark.parametrize(("pauses", "result"), [(1, "verified"), (2, "verified"), (3, "no_effect")])
def test_trouble_that_paused_now_and_then_was_trouble(pauses: int, result: str) -> None:
    """A gauge is read at one moment: a full pool has a free connection now and then. Where it often had, who knows."""
    free = Fault({**POOL.signals, "app.pool.utilisation": 0.0}, rising=[P95])
    story, stage = Story(frame_s=5.0).healthy(240), make_stage(frame_s=5.0)
    found = advice(stage.step(story.troubled(4, {"duri_core": POOL}).take()))
    first = min(found, key=lambda record: record["rank"])
    story.troubled(pauses, {"duri_core": free}).troubled(2, {"duri_core": POOL})
    story.healthy(1).feedback(first["id"], "applied").healthy(70)
    assert [each["result"] for each in outcomes(story, stage)] == [result]


def test_better_but_not_mended_is_no_effect_and_says_so() -> None:
    """The pool is still too full: that is not what was promised."""
    story, stage, _ = applied(Fault({**POOL.signals, "app.pool.utilisation": 1.6}, rising=[P95]))
    half = Fault({**POOL.signals, "app.pool.utilisation": 0.95}, rising=[P95])
    [outcome] = outcomes(story.troubled(9, {"duri_core": half}), stage)
    assert outcome["result"] == "no_effect"
    assert outcome["note"].endswith("though it is better than before")


@pytest.mark.parametrize(("worse", "signal"), [(FAILING, "http.error_ratio"), (SLOWER, "http.latency.mean")])
def test_worse_is_regressed_and_the_undo_is_proposed(worse: Fault, signal: str) -> None:
    """Errors or latency rise after the change: regressed, and taking it back is the first choice."""
    story, stage, first = applied()
    outputs = stage.step(story.troubled(7, {"duri_core": worse}).take())
    [outcome] = of(outputs, Topic.OUTCOMES)
    assert outcome["result"] == "regressed"
    [undo] = [record for record in advice(outputs) if record["kind"].endswith(".undo")]
    assert (undo["state"], undo["rank"], undo["category"]) == ("proposed", 1, "rollback")
    assert (undo["change"]["current"], undo["change"]["recommended"]) == (20.0, 10.0)
    assert undo["how"]["commands"] == first["undo"]
    assert undo["undo"] == first["how"]["commands"]
    assert undo["verification"]["signal"] == signal
    assert first["id"] in undo["why"]["reason"]


def test_undo_is_verified_too() -> None:
    """Once the undo is applied and errors are back where they were, it is verified."""
    story, stage, _ = applied()
    outputs = stage.step(story.troubled(4, {"duri_core": FAILING}).take())
    undo = next(record for record in advice(outputs) if record["kind"].endswith(".undo"))
    story.feedback(undo["id"], "applied", "f2").troubled(8, {"duri_core": POOL})
    [outcome] = outcomes(story, stage)
    assert (outcome["recommendation"], outcome["result"]) == (undo["id"], "verified")


def test_undo_outlives_its_incident() -> None:
    """Harm does not go away because the anomalies did."""
    story, stage, _ = applied()
    unflagged = Fault(FAILING.signals)
    outputs = stage.step(story.troubled(4, {"duri_core": FAILING}).troubled(40, {"duri_core": unflagged}).take())
    states = [record["state"] for record in advice(outputs) if record["kind"].endswith(".undo")]
    assert states == ["proposed"]


def test_caches_may_warm_up_first() -> None:
    """What evictions do within the settling time is not asked."""
    cache = Fault(
        {**SLOW, "redis.evictions.rate": 214.0, "redis.hit_ratio": 0.3, "redis.memory.utilisation": 1.0},
        rising=[P95, "redis.evictions.rate"],
        falling=["redis.hit_ratio"],
    )
    story, stage, first = applied(cache)
    assert first["verification"]["settle_s"] == 80.0
    [outcome] = outcomes(story.troubled(2, {"duri_core": cache}).healthy(8), stage)
    assert outcome["result"] == "verified"


def test_more_requests_are_not_the_changes_fault() -> None:
    """Latency that rises with the load does not condemn the change."""
    story, stage, _ = applied()
    surge = Fault({**SLOWER.signals, "http.rps": 300.0}, rising=[P95])
    assert [each["result"] for each in outcomes(story.troubled(9, {"duri_core": surge}), stage)] != ["regressed"]


def test_maintenance_and_other_changes_are_left_out() -> None:
    """Intervals within a window do not count; where too few are left the outcome says so."""
    story, stage, _ = applied()
    story.maintenance(6).troubled(6, {"duri_core": FAILING}).healthy(8)
    [outcome] = outcomes(story, stage)
    assert (outcome["result"], outcome["disturbed"]) == ("verified", 6)
    story, stage, _ = applied()
    story.troubled(3, {"duri_core": POOL}).deploy(minutes_ago=0.0).healthy(15)
    told = [each for each in outcomes(story, stage) if each["recommendation"]]
    assert [each["result"] for each in told] == ["no_effect"]
    assert "disturbed by something else" in told[0]["note"]


def test_trouble_of_a_callee_is_not_the_changes_fault() -> None:
    """A callee that gets slow after the change is left out of the verdict."""
    story, stage = Story(("duri_core", "duri_brain")), make_stage()
    found = advice(stage.step(story.healthy(40).troubled(8, {"duri_core": POOL}).take()))
    stage.step(story.feedback(found[0]["id"], "applied").healthy(1).take())
    both = {"duri_core": SLOWER, "duri_brain": Fault(SLOW, rising=[P95])}
    told = [
        each for each in outcomes(story.troubled(5, both).healthy(7), stage) if each["recommendation"] == found[0]["id"]
    ]
    assert [each["result"] for each in told] == ["verified"]


def test_a_callee_that_suffers_a_little_is_no_excuse() -> None:
    """The harm stays the service's own: a callee that its bursts hold up does not keep the verdict waiting."""
    story, stage = Story(("duri_core", "duri_brain")), make_stage()
    found = advice(stage.step(story.healthy(40).troubled(8, {"duri_core": POOL}).take()))
    stage.step(story.feedback(found[0]["id"], "applied").take())
    held_up = Fault({"http.latency.mean": 0.09, P95: 0.25}, rising=[P95])
    told = outcomes(story.troubled(9, {"duri_core": POOL, "duri_brain": held_up}), stage)
    [outcome] = [each for each in told if each["recommendation"] == found[0]["id"]]
    assert (outcome["result"], outcome["disturbed"]) == ("no_effect", 0)
    assert outcome["note"].startswith("app.pool.utilisation is 85 % or more 5 min after the change")


def test_a_callees_trouble_moves_what_users_feel_alone() -> None:
    """Locks spread to a callee, which is slow since; that many wait for them was measured all the same."""
    waiting = Fault({"pg.locks.waiting": 30.0, "pg.transaction.age": 90.0}, rising=["pg.locks.waiting"])
    story, stage = Story(("duri_core", "duri_brain")), make_stage()
    found = advice(stage.step(story.healthy(40).troubled(8, {"duri_core": waiting}).take()))
    stage.step(story.feedback(found[0]["id"], "applied").take())
    told = outcomes(story.troubled(9, {"duri_core": waiting, "duri_brain": Fault(SLOW, rising=[P95])}), stage)
    [outcome] = [each for each in told if each["recommendation"] == found[0]["id"]]
    assert (outcome["result"], outcome["disturbed"]) == ("no_effect", 0)
    assert outcome["note"].startswith("pg.locks.waiting is 3 or more")


def growing(pace: float, fault: Fault = POOL) -> Iterator[Fault]:
    """The fault with a latency that grows by this share of itself from interval to interval."""
    slow = {name: fault.signals[name] for name in SLOW}
    for step in itertools.count():
        worse = {name: (1.0 + pace * step) * value for name, value in slow.items()}
        yield replace(fault, signals={**fault.signals, **worse})


@pytest.mark.parametrize(("harm", "result"), [(1.0, "no_effect"), (4.0, "regressed")])
def test_what_grew_before_grows_on_without_being_the_changes_fault(harm: float, result: str) -> None:
    """Twice as slow at the end as when nothing was done; but a step beyond that growth is the change's."""
    story, stage, trouble = Story().healthy(40), make_stage(), growing(0.1)
    for fault in itertools.islice(trouble, 8):
        story.troubled(1, {"duri_core": fault})
    first = min(advice(stage.step(story.take())), key=lambda record: record["rank"])
    story.feedback(first["id"], "applied")
    for fault in itertools.islice(trouble, 9):
        slower = {name: harm * fault.signals[name] for name in SLOW}
        story.troubled(1, {"duri_core": replace(fault, signals={**fault.signals, **slower})})
    assert [each["result"] for each in outcomes(story, stage)] == [result]


def test_no_growth_is_for_ever() -> None:
    """The trouble had just begun to grow when a change made everything four times as slow, and so it stays."""
    story, stage, trouble = Story(frame_s=5.0).healthy(240), make_stage(frame_s=5.0), growing(0.6)
    for fault in itertools.islice(trouble, 4):
        story.troubled(1, {"duri_core": fault})
    first = min(advice(stage.step(story.take())), key=lambda record: record["rank"])
    last = next(trouble)
    slower = {name: 4.0 * last.signals[name] for name in SLOW}
    story.feedback(first["id"], "applied")
    story.troubled(40, {"duri_core": replace(last, signals={**last.signals, **slower})})
    assert [each["result"] for each in outcomes(story, stage)] == ["regressed"]


def test_errors_that_come_and_go_are_no_harm_of_the_change() -> None:
    """Where a third to nine tenths of the requests failed before, nine tenths are no worse."""
    story, stage = Story().healthy(40), make_stage()
    failing = [replace(FAILING, signals={**FAILING.signals, "http.error_ratio": share}) for share in (0.3, 0.9, 0.6)]
    for step in range(8):
        story.troubled(1, {"duri_core": failing[step % 3]})
    first = min(advice(stage.step(story.take())), key=lambda record: record["rank"])
    story.feedback(first["id"], "applied").troubled(9, {"duri_core": failing[1]})
    assert [each["result"] for each in outcomes(story, stage)] == ["no_effect"]


def test_back_at_what_was_healthy_is_verified_although_the_condition_is_narrow() -> None:
    """A quarter above what is usual, as it was in every other healthy interval, and far better than in the trouble."""
    fsync = Fault({**SLOW, "redis.aof_delayed.rate": 2.0}, rising=[P95], settings={"redis.appendfsync_always": 1.0})
    noisy = Fault({P95: 1.35 * 0.15})
    story, stage = Story().healthy(10), make_stage()
    for _ in range(15):
        story.healthy(1).troubled(1, {"duri_core": noisy})
    first = min(advice(stage.step(story.troubled(8, {"duri_core": fsync}).take())), key=lambda record: record["rank"])
    assert first["verification"]["signal"] == P95
    [outcome] = outcomes(story.feedback(first["id"], "applied").troubled(14, {"duri_core": noisy}), stage)
    assert outcome["result"] == "verified"
    assert "is back where it was before the trouble" in outcome["note"]


def test_what_showed_the_trouble_is_what_is_verified() -> None:
    """An index whose want no user felt: the rows read in vain are gone, and that is the verdict."""
    story, stage, first = applied(Fault({ROWS: 2e6}, rising=[ROWS]))
    assert first["verification"]["signal"] == ROWS
    [outcome] = outcomes(story.healthy(14), stage)
    assert (outcome["result"], outcome["signal"]) == ("verified", ROWS)
    story, stage, first = applied(Fault({ROWS: 2e6}, rising=[ROWS]))
    still = Fault({ROWS: 1.9e6}, rising=[ROWS])
    assert [each["result"] for each in outcomes(story.troubled(14, {"duri_core": still}), stage)] == ["no_effect"]


def test_mended_in_spite_of_a_callees_trouble_is_verified() -> None:
    """A callee is slow from the change on; what holds nevertheless is not left out."""
    story, stage = Story(("duri_core", "duri_brain")), make_stage()
    found = advice(stage.step(story.healthy(40).troubled(8, {"duri_core": POOL}).take()))
    stage.step(story.feedback(found[0]["id"], "applied").healthy(1).take())
    told = outcomes(story.troubled(8, {"duri_brain": Fault(SLOW, rising=[P95])}), stage)
    assert [each["result"] for each in told if each["recommendation"] == found[0]["id"]] == ["verified"]


def test_memory_leak_restart_is_verified() -> None:
    """Memory that starts from low again after a restart counts as mended."""

    def leaking(minute: int) -> float:
        return 0.5 * GIB + max(0, minute - 40) * 10 * 1024.0**2

    leak = Fault(
        {"container.memory.bytes": leaking, "container.memory.utilisation": lambda minute: leaking(minute) / GIB},
        rising=["container.memory.utilisation"],
    )
    story, stage, first = applied(leak, minutes=25)
    assert first["provenance"]["rule"] == "container-memory-leak"
    assert [each["result"] for each in outcomes(story.healthy(9), stage)] == ["verified"]


def test_before_is_the_trouble_and_not_the_incident() -> None:
    """An incident stood for half an hour over something else: what the advice ended is all that is compared with."""
    story, stage = Story(), make_stage()
    other = Fault({"node.cpu.utilisation": 0.7}, rising=["node.cpu.utilisation"])
    stage.step(story.healthy(40).troubled(30, {"duri_core": other}).take())
    found = advice(stage.step(story.troubled(4, {"duri_core": POOL}).take()))
    first = next(record for record in found if record["provenance"]["rule"] == "app-pool-size")
    [outcome] = outcomes(story.feedback(first["id"], "applied").healthy(8), stage)
    assert (outcome["result"], outcome["before"], outcome["after"]) == ("verified", 1.0, 0.3)
    assert outcome["compared"][0]["intervals_before"] <= 5
