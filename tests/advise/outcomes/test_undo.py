"""The undo of what regressed: one at a time, and nothing but its own answer takes it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.advise.outcomes.harm import Harmed
from pipeline.advise.outcomes.standing import Board, Standing
from pipeline.advise.outcomes.undo import propose_undo
from pipeline.advise.rules.lessons import Lessons
from pipeline.records import Recommendation, RecommendationState
from pipeline.settings import AdviseSettings
from pipeline.stage import Topic
from tests.advise.helpers import SLOW, Fault, Story, advice, make_stage, of

if TYPE_CHECKING:
    from pipeline.advise.stage import AdviseStage

P95, ERRORS = "http.latency.p95", "http.error_ratio"
POOL = Fault({**SLOW, "app.pool.utilisation": 1.0, "app.pool.acquire.p95": 0.2}, rising=[P95])
FAILING = {ERRORS: 0.3, "http.availability": 0.7}
WORSE = Fault({**POOL.signals, **FAILING}, rising=[P95, ERRORS])
SPILLS = {"pg.temp_bytes.rate": 5e6}


def regress(story: Story, stage: AdviseStage, answer: str) -> list[dict[str, Any]]:
    """Apply what is advised on the pool, and have requests fail since; what was written until then."""
    proposed = [each for each in advice(stage.step(story.take())) if each["kind"] == "app.pool_size"]
    story.feedback(proposed[-1]["id"], "applied", answer).troubled(5, {"duri_core": WORSE})
    return advice(stage.step(story.take()))


def test_two_that_would_undo_the_same_end_one_by_one() -> None:
    """However they came to stand together: an answer to each ends that one, and the other stands until then."""
    story, stage = Story(), make_stage()
    story.healthy(40).troubled(5, {"duri_core": POOL})
    [undo, *_] = [each for each in regress(story, stage, "f1") if each["kind"].endswith(".undo")]
    record = Recommendation.model_validate(undo)
    board = Board(Lessons(), 0, 0)
    first, second = (
        Standing(record.model_copy(update={"id": name}), incident=name, matched=0, emitted=0, undoes="x")
        for name in ("first", "second")
    )
    board.open(first)
    board.open(second)
    board.end(first, RecommendationState.REJECTED, 1)
    assert board.about(second.key) is second
    board.end(second, RecommendationState.REJECTED, 1)
    assert (len(board), board.about(second.key)) == (0, None)


def test_a_newer_undo_of_the_same_takes_the_place_of_the_older() -> None:
    """Two changes of one setting that regressed one after the other have one way back."""
    story, stage = Story(), make_stage()
    story.healthy(40).troubled(5, {"duri_core": POOL})
    [undo, *_] = [each for each in regress(story, stage, "f1") if each["kind"].endswith(".undo")]
    board = Board(Lessons(), 0, 0)
    regressed = Standing(Recommendation.model_validate(undo), incident="i", matched=0, emitted=0, applied=1)
    harmed = Harmed("duri_core", ERRORS, "30 % of the requests fail", f'signals["{ERRORS}"] < 0.01')
    propose_undo(board, regressed, harmed, 0.3, {}, 10)
    propose_undo(board, regressed, harmed, 0.3, {}, 20)
    assert len(board) == 1
    assert [record.state for _, record in board.outbox] == ["proposed", "superseded", "proposed"]


def test_it_stands_when_something_else_is_verified() -> None:
    """Requests fail as before, whatever the other change has mended."""
    story, stage = Story(), make_stage()
    both = Fault({**POOL.signals, **SPILLS}, rising=[P95, *SPILLS])
    found = advice(stage.step(story.healthy(40).troubled(5, {"duri_core": both}).take()))
    by_rule = {each["provenance"]["rule"]: each["id"] for each in found}
    worse = Fault({**both.signals, **FAILING}, rising=[P95, ERRORS, *SPILLS])
    story.feedback(by_rule["app-pool-size"], "applied", "f1").troubled(5, {"duri_core": worse})
    mended = Fault({**SLOW, **FAILING}, rising=[P95, ERRORS])
    story.feedback(by_rule["pg-work-mem"], "applied", "f2").troubled(20, {"duri_core": mended})
    outputs = stage.step(story.take())
    assert "verified" in {each["result"] for each in of(outputs, Topic.OUTCOMES)}
    assert {each["state"] for each in advice(outputs) if each["kind"].endswith(".undo")} == {"proposed"}


def undone(minutes: int, fault: Fault) -> tuple[dict[str, Any], list[Any]]:
    """A change of the pool that its gauge shows and that regressed; then this, without a word about the undo."""
    story, stage = Story(), make_stage()
    story.healthy(40).troubled(5, {"duri_core": POOL})
    proposed = [each for each in advice(stage.step(story.take())) if each["kind"] == "app.pool_size"]
    doubled = Fault(WORSE.signals, {"app.pool_size": 20.0}, rising=WORSE.rising)
    story.feedback(proposed[-1]["id"], "applied").troubled(6, {"duri_core": doubled})
    found = [each for each in advice(stage.step(story.take())) if each["kind"].endswith(".undo")]
    return found[-1], stage.step(story.troubled(minutes, {"duri_core": fault}).take())


def test_an_undo_that_the_gauge_shows_counts_as_applied() -> None:
    """And is verified like any other."""
    undo, outputs = undone(15, Fault())
    states = [(each["state"], each["answer"]) for each in advice(outputs) if each["id"] == undo["id"]]
    assert states[0] == ("applied", "applied: the gauge app.pool_size went from 20 to 10")
    assert states[-1][0] == "verified"


def test_an_undo_of_what_is_harmful_no_more_ends() -> None:
    """Whoever mended it: what it was to mend has been gone for as long as conditions may be before advice expires."""
    undo, outputs = undone(30, Fault(settings={"app.pool_size": 20.0}))
    [outcome] = [each for each in of(outputs, Topic.OUTCOMES) if each["recommendation"] == undo["id"]]
    assert (outcome["result"], outcome["note"]) == ("expired", "what it was to mend has been gone for 16 min")


def test_an_undo_stands_while_the_harm_does_or_nothing_tells() -> None:
    """However long."""
    failing = Fault(WORSE.signals, {"app.pool_size": 20.0}, rising=WORSE.rising)
    silent = Fault(settings={"app.pool_size": 20.0}, without=[ERRORS])
    for fault in (failing, silent):
        undo, outputs = undone(60, fault)
        assert undo["id"] not in {each["recommendation"] for each in of(outputs, Topic.OUTCOMES)}


def test_the_opposite_of_an_open_undo_is_not_advised() -> None:
    """The pool is as small as it was, and to be as it was."""
    story, stage = Story(), make_stage(AdviseSettings(cooldown_s=120.0))
    story.healthy(40).troubled(5, {"duri_core": POOL})
    regress(story, stage, "f1")
    later = advice(stage.step(story.troubled(30, {"duri_core": WORSE}).take()))
    assert {each["kind"] for each in later if each["state"] == "proposed"} <= {"app.pool_size.undo"}


def test_the_incident_names_the_undo() -> None:
    """Its first choice stands in its list."""
    story, stage = Story(), make_stage()
    story.healthy(40).troubled(5, {"duri_core": POOL})
    proposed = [each for each in advice(stage.step(story.take())) if each["kind"] == "app.pool_size"]
    outputs = stage.step(story.feedback(proposed[-1]["id"], "applied").troubled(5, {"duri_core": WORSE}).take())
    [undo, *_] = [each["id"] for each in advice(outputs) if each["kind"].endswith(".undo")]
    assert undo in of(outputs, Topic.INCIDENTS)[-1]["recommendations"]
