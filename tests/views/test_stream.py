from __future__ import annotations

import json
from io import StringIO

from rich.console import Console

from pipeline.records import (
    AnomalyState,
    Detector,
    IncidentState,
    Outcome,
    RecommendationState,
    Record,
    RunsOut,
    Severity,
    Target,
    Tick,
    Verification,
)
from pipeline.views import words
from pipeline.views.in_full import in_full
from pipeline.views.stream import JsonStream, WordStream
from pipeline.views.worker_page import parse
from tests.views.fakes import anomaly, at, incident, recommendation

OUTCOME = Outcome(
    id="o",
    recommendation="r",
    rule="pool",
    at=at(30),
    result="verified",
    signal="app.pool.utilisation",
    before=1.0,
    after=0.4,
)


def test_json_is_one_line_a_record_and_says_which():
    """A program reads line by line and knows what it has."""
    out = StringIO()
    with JsonStream(out) as stream:
        stream.show([anomaly(), recommendation(), incident(), OUTCOME], unreadable=0)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["record"] for line in lines] == ["anomaly", "recommendation", "incident", "outcome"]
    assert lines[1]["change"]["recommended"] == 40


def test_words_for_people():
    """What, where, how much, what to do; and at the end what was seen."""
    out = StringIO()
    with WordStream(Console(file=out, width=200)) as stream:
        stream.show([anomaly(), recommendation(), incident(), OUTCOME], unreadable=0)
    text = out.getvalue()
    for piece in ("720 ms (expected 160 ms)", "pool_size 20 → 40", "how:  DB_POOL_SIZE=40", "undo: DB_POOL_SIZE=20"):
        assert piece in text
    assert "requests wait for connections" in text
    assert "verified pool: app.pool.utilisation 1 → 0.4" in text
    assert "1 anomaly record, 1 recommendation record, 1 incident record, 1 outcome record" in text


def shown(*records: Record) -> str:
    """In words, on a wide terminal."""
    out = StringIO()
    with WordStream(Console(file=out, width=200)) as stream:
        stream.show(records, unreadable=0)
    return out.getvalue()


def test_standing_advice_says_how_to_answer_it() -> None:
    """With the id in full, to be copied; what is over wants no answer."""
    text = shown(recommendation("0123456789abcdef"), recommendation("over", state=RecommendationState.EXPIRED))
    assert "duri feedback 0123456789abcdef applied" in text
    assert "duri show 0123456789abcdef" in text
    assert "feedback over" not in text


def test_applied_advice_says_when_the_verdict_comes() -> None:
    """Five minutes after the change, and after what the change itself disturbs."""
    check = Verification(signal="db.pool", condition="true", after_s=300.0, settle_s=120.0)
    text = shown(recommendation(minutes=10, state=RecommendationState.APPLIED, verification=check))
    assert "the verdict comes at 2025-01-07 12:17 UTC" in text
    assert "duri feedback" not in text


def test_how_is_said_until_it_is_done_and_the_undo_until_it_is_judged() -> None:
    """What is over has one line."""
    shares = {
        state: [part in shown(recommendation(state=state)) for part in ("how:", "undo:")]
        for state in (RecommendationState.ACKNOWLEDGED, RecommendationState.APPLIED, RecommendationState.VERIFIED)
    }
    assert list(shares.values()) == [[True, True], [False, True], [False, False]]


def test_incident_says_why_there_is_no_advice_and_what_runs_out() -> None:
    """As long as it is open."""
    memory = RunsOut(what="memory", expected_at=at(60), earliest_at=at(50), latest_at=at(80))
    about = {"known_reasons": ["maintenance of duri_core: a load test"], "runs_out": [memory]}
    text = shown(incident(**about))
    assert "no advice: maintenance of duri_core: a load test" in text
    assert "runs out: memory at 2025-01-07 13:00 UTC, between 2025-01-07 12:50 and 2025-01-07 13:20" in text
    assert "beside it: 2 anomalies only worth knowing" in shown(incident(worth_knowing=["a", "b"]))
    assert "runs out" not in shown(incident(**about, state=IncidentState.CLOSED))


def test_repeats_have_no_line_of_their_own():
    """An anomaly has a line when it opens, gets worse, is joined by another detector, and closes."""
    out = StringIO()
    joined = ((Detector.LEARNED, 0.0), (Detector.STATIC, 9.0))
    updated = {"state": AnomalyState.UPDATED}
    story = [
        anomaly(state=AnomalyState.OPENED),
        anomaly(**updated),
        anomaly(**updated, severity=Severity.CRITICAL),
        anomaly(**updated, severity=Severity.CRITICAL),
        anomaly(**updated, severity=Severity.CRITICAL, detectors=joined),
        anomaly(state=AnomalyState.CLOSED),
    ]
    with WordStream(Console(file=out, width=200)) as stream:
        stream.show(story, unreadable=0)
    *lines, seen = out.getvalue().splitlines()
    assert len(lines) == 4
    assert seen == "6 anomaly records"


def test_unreadable_records_are_counted():
    """Never silently."""
    out = StringIO()
    with WordStream(Console(file=out, width=200, force_terminal=True)) as stream:
        stream.show([anomaly()], unreadable=3)
    assert "3 unreadable" in out.getvalue()


def test_machinery_is_not_shown():
    """Ticks are nobody's business."""
    assert words.line(Tick(at=at(0))) is None


def test_worker_page_gives_what_detect_and_advise_have_taken():
    """All its samples, whatever became of them; nobody else's."""
    page = (
        "# TYPE duri_detect_samples counter\n"
        'duri_detect_samples_total{stage="detect"} 100.0\n'
        "# TYPE duri_late_samples counter\n"
        'duri_late_samples_total{stage="detect"} 5.0\n'
        "# TYPE duri_samples counter\n"
        'duri_samples_total{stage="ingest"} 400.0\n'
        "# TYPE duri_intervals counter\n"
        'duri_intervals_total{stage="advise"} 3.0\n'
    )
    assert parse(page) == (105, 3)


def test_what_services_share_is_named_in_place_of_one_of_them() -> None:
    """In the line and in full, where all of them are listed."""
    target = Target(service="duri_brain", component="postgresql", shared_by=["duri_brain", "duri_core"])
    shared = recommendation(target=target)
    assert "postgresql of 2 services: pool_size" in shown(shared)
    out = StringIO()
    Console(file=out, width=200).print(in_full(shared, [], None, None))
    text = " ".join(out.getvalue().split())
    assert text.startswith("postgresql of 2 services: pool_size")
    assert "shared by duri_brain and duri_core" in text
