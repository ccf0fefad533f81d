from __future__ import annotations

import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from pipeline.errors import LifecycleError, ModelError
from pipeline.registry.gate import objections
from pipeline.registry.pointers import Author, Move, PointerLog, Pointers
from pipeline.registry.store import Store
from pipeline.settings import ModelSettings
from tests.registry.trained import GOOD, SHADOWED, trained

if TYPE_CHECKING:
    from pathlib import Path

MARGIN = ModelSettings().margin
ADA = Author(who="ada", when=datetime(2026, 1, 1, tzinfo=UTC), why="better recall")


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A registry with three versions."""
    store = Store(str(tmp_path / "registry") if request.param == "folder" else f"memory://{uuid.uuid4().hex}")
    for seed in (1, 2, 3):
        store.add(*trained(seed))
    return store


def test_pointers_move_and_the_log_remembers(store: Store) -> None:
    """Shadow, promote, promote, revert: each pointer where it belongs, each move with who, when and why."""
    a, b, _ = store.versions("services")
    log = PointerLog(store, "services")
    log.shadow(a, ADA)
    log.promote(a, ADA)
    assert log.pointers() == Pointers(live=a)
    log.shadow(b, ADA)
    assert log.pointers() == Pointers(live=a, shadow=b)
    log.promote(b, ADA)
    assert log.pointers() == Pointers(live=b, previous=a)
    log.revert(ADA)
    assert log.pointers() == Pointers(live=a, previous=b)
    moves = PointerLog(store, "services").moves()
    assert [(move.number, move.action.value, move.version) for move in moves] == [
        (1, "shadow", a), (2, "promote", a), (3, "shadow", b), (4, "promote", b), (5, "revert", a),
    ]  # fmt: skip
    assert {(move.who, move.why, move.when) for move in moves} == {(ADA.who, ADA.why, ADA.when)}


def test_the_first_promotion_can_be_reverted(store: Store) -> None:
    """Before it there was no model, and so there is none again."""
    log = PointerLog(store, "services")
    log.promote(store.versions("services")[0], ADA)
    assert log.revert(ADA).version is None
    assert log.pointers().live is None
    with pytest.raises(LifecycleError, match="no version is live; there is nothing to revert"):
        log.revert(ADA)


def test_moves_that_make_no_sense(store: Store) -> None:
    """Promoting or shadowing what is live, and a version that is not there."""
    a, *_ = store.versions("services")
    log = PointerLog(store, "services")
    log.promote(a, ADA)
    for move in (log.promote, log.shadow):
        with pytest.raises(LifecycleError, match=f"{a} is live already"):
            move(a, ADA)
        with pytest.raises(ModelError, match="there is no such version"):
            move("0" * 12, ADA)
    assert len(log.moves()) == 1


def test_a_damaged_version_does_not_become_live(store: Store) -> None:
    """What verify finds stops the promotion; the pointers stay."""
    a, *_ = store.versions("services")
    log = PointerLog(store, "services")
    with (
        patch.object(Store, "model_bytes", return_value=b"other bytes"),
        pytest.raises(ModelError, match="truncated; register it again"),
    ):
        log.promote(a, ADA)
    assert log.pointers() == Pointers()


def test_of_two_promotions_at_once_one_is_made(store: Store) -> None:
    """Both have read the same log: the second is told to look and repeat, and the log has one entry more."""
    a, b, _ = store.versions("services")
    for _ in range(5):
        logs = [PointerLog(store, "services") for _ in range(2)]
        before = logs[0].moves()
        with patch.object(PointerLog, "moves", return_value=before), ThreadPoolExecutor(2) as pool:
            results = [pool.submit(_attempt, log, version) for log, version in zip(logs, (a, b), strict=True)]
            outcomes = [result.result() for result in results]
        assert sum(isinstance(outcome, Move) for outcome in outcomes) == 1
        assert sum("at the same moment" in str(outcome) for outcome in outcomes) == 1
        assert len(logs[0].moves()) == len(before) + 1


def _attempt(log: PointerLog, version: str) -> Move | str:
    try:
        return log.shadow(version, ADA)
    except LifecycleError as error:
        return str(error)


def test_a_log_with_a_hole_is_refused(tmp_path: Path) -> None:
    """A move that somebody removed or broke: no further move is made on what is left."""
    store = Store(str(tmp_path))
    versions = [store.add(*trained(seed)) for seed in (1, 2)]
    log = PointerLog(store, "services")
    for version in versions:
        log.promote(version, ADA)
    first, second = sorted((tmp_path / "log" / "services").iterdir())
    second.write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=r"00000002\.json: cannot be read"):
        log.revert(ADA)
    second.unlink()
    first.rename(second)
    with pytest.raises(ModelError, match="moves are missing from the log"):
        log.pointers()


@pytest.mark.parametrize(
    ("metrics", "shadow", "says"),
    [
        (GOOD, SHADOWED, None),
        ({}, SHADOWED, "it was not evaluated"),
        (GOOD | {"false_alarms_per_service_day": 0.3}, SHADOWED, "0.3 false alarms per service-day, the budget is 0.2"),
        (GOOD | {"f1_over_live_low": -0.05}, SHADOWED, None),
        (
            GOOD | {"f1_over_live_low": -0.055},
            SHADOWED,
            "worse than the live model by more than 0.05 .* begins at -0.055",
        ),
        (GOOD | {"f1_over_none_low": 0.0}, SHADOWED, "no better than no trained model: .* begins at 0"),
        (GOOD | {"features_moved": 0.24}, SHADOWED, None),
        (GOOD | {"features_moved": 0.25}, SHADOWED, "25% of its features are spread otherwise .* an incident"),
        (GOOD, {}, "0 h in the shadow, 24 h are wanted"),
        (GOOD, SHADOWED | {"shadow_hours": 23.9}, "23.9 h in the shadow"),
        # A budget of 0.2 in ten days gives five or more in one of twenty times.
        (GOOD, SHADOWED | {"shadow_lone_alarms": 4}, None),
        (GOOD, SHADOWED | {"shadow_lone_alarms": 5}, None),
        (GOOD, SHADOWED | {"shadow_lone_alarms": 6}, "0.6 alarms per service-day in the shadow that nobody shared"),
        (GOOD, SHADOWED | {"shadow_lone_alarms": 17, "shadow_live_lone_alarms": 8}, None),
        (GOOD, SHADOWED | {"shadow_lone_alarms": 18, "shadow_live_lone_alarms": 8}, "and of the live version's 0.8"),
    ],
)
def test_the_gate_says_what_is_against_a_version(
    metrics: dict[str, float], shadow: dict[str, float], says: str | None
) -> None:
    """Not evaluated, over its budget, worse than the live model by more than the margin, no better than none, fitted on
    what is not normal now, or not long enough in the shadow. Better than none it must be whatever is live, so that
    many small losses do not add up.
    """
    live, _ = trained(1)
    candidate, _ = trained(2, metrics=metrics)
    found = objections(candidate, live, shadow, MARGIN)
    if says is None:
        assert found == ()
    else:
        assert len(found) == 1
        assert re.search(says, found[0])


def test_the_first_version_is_compared_with_no_model() -> None:
    """And one without a threshold, or of another kind than the live one, does not pass either."""
    candidate, _ = trained(2, metrics={name: GOOD[name] for name in GOOD if name != "f1_over_live_low"})
    assert objections(candidate, None, SHADOWED, MARGIN) == ()
    assert any("not evaluated" in one for one in objections(candidate, trained(1)[0], SHADOWED, MARGIN))
    assert objections(trained(2, threshold=None)[0], None, SHADOWED, MARGIN) == ("it has no alarm threshold",)
    other = trained(1, kind="band")[0]
    assert objections(trained(2)[0], other, SHADOWED, MARGIN) == ("it is a detector, the live model is a band",)
    [reason] = objections(trained(2, services="api-.*")[0], trained(1)[0], SHADOWED, MARGIN)
    assert reason == "it is for the services api-.*, the live model for .*: name it otherwise"


def test_what_the_shadow_has_not_shown_is_no_agreement() -> None:
    """Silence where other detectors spoke thrice, and scores that are missing; a little of either passes."""
    candidate = trained(2)[0]
    quiet = SHADOWED | {"shadow_alarms": 0, "shadow_others_alarms": 2, "shadow_unscored": 0.1}
    assert objections(candidate, None, quiet, MARGIN) == ()
    [silent] = objections(candidate, None, quiet | {"shadow_others_alarms": 3}, MARGIN)
    assert "silent in the shadow while other detectors raised 3 alarms" in silent
    assert objections(candidate, None, quiet | {"shadow_others_alarms": 3, "shadow_alarms": 1}, MARGIN) == ()
    [unscored] = objections(candidate, None, quiet | {"shadow_unscored": 0.17}, MARGIN)
    assert "no score to 17% of what the live version scored" in unscored


def test_a_version_that_was_compared_with_another_than_the_live_one_does_not_pass() -> None:
    """Another was promoted, or the one it was compared with was reverted, since it was trained."""
    live, other = trained(1)[0], trained(3)[0]
    candidate, _ = trained(2, compared_with=live.version)
    assert objections(candidate, live, SHADOWED, MARGIN) == ()
    [reason] = objections(candidate, other, SHADOWED, MARGIN)
    assert reason == f"it was compared with {live.version}, and {other.version} is live now: train it again"


def test_a_ranker_and_priors_need_no_time_in_the_shadow() -> None:
    """They raise nothing that could be counted there; what was measured of them counts like that of any model."""
    assert objections(trained(2, kind="priors", threshold=None)[0], None, {}, MARGIN) == ()
    assert objections(trained(2, kind="ranker")[0], None, {}, MARGIN) == ()
    [reason] = objections(trained(2, kind="ranker", metrics=GOOD | {"f1_over_none_low": -0.1})[0], None, {}, MARGIN)
    assert "no better than no trained model" in reason


def test_force_overrides_the_gate_and_is_recorded(store: Store) -> None:
    """Without a reason it does not; with one the log says what was overridden."""
    a, *_ = store.versions("services")
    log = PointerLog(store, "services")
    with pytest.raises(LifecycleError, match=r"not promoted: it is worse\. .*--force --why"):
        log.promote(a, ADA, ("it is worse",))
    with pytest.raises(LifecycleError, match="--force needs a reason"):
        log.promote(a, ADA.model_copy(update={"why": ""}), ("it is worse",), force=True)
    move = log.promote(a, ADA, ("it is worse",), force=True)
    assert (move.forced, move.gate) == (True, ("it is worse",))
    assert log.moves() == [move]
