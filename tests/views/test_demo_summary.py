from __future__ import annotations

from io import StringIO

import msgspec
import pytest
from rich.console import Console

from pipeline.records import AnomalyState, Change, Detector, Firing, Severity, Target
from pipeline.views.demo_summary import DemoSummary, Evidence, summarise
from pipeline.views.demo_table import print_summary
from tests.views.fakes import anomaly, at, recommendation


class Fault:
    service = "duri_core"
    kind = "pool_exhausted"
    title = "connection pool exhausted"
    start = at(0)
    end = at(90)
    expected = frozenset({"pool_size"})


def summary_of(*records) -> DemoSummary:
    evidence = Evidence()
    for record in records:
        evidence.take(record)
    return summarise("data", [Fault()], evidence, samples=1000, seconds=2.0)


def static(minute: float, severity: Severity = Severity.WARNING) -> Firing:
    return Firing(detector=Detector.STATIC, severity=severity, score=1.0, since=at(minute), rule="p95")


LEARNED = Firing(detector=Detector.LEARNED, severity=Severity.WARNING, score=0.8, since=at(10))


def test_lead_is_from_the_first_flag_to_the_static_rule():
    """Learned at 12 minutes, static at 50: 38 minutes ahead, each at the time it was published."""
    opened = anomaly("a", 12, last_at=at(12), detectors=[]).model_copy(update={"detectors": [LEARNED]})
    joined = opened.model_copy(
        update={"state": AnomalyState.UPDATED, "last_at": at(50), "detectors": [LEARNED, static(45)]}
    )
    (fault,) = summary_of(opened, joined).faults
    assert fault.first_flag.detector == "learned"
    assert fault.first_flag.after_s == 12 * 60
    assert fault.static_rule.after_s == 50 * 60
    assert fault.lead_s == 38 * 60


def test_static_rules_that_only_inform_are_no_alarm():
    """A baseline rule of severity info is not what one is ahead of."""
    (fault,) = summary_of(
        anomaly("a", 12).model_copy(update={"detectors": [static(5, Severity.INFO)]}),
    ).faults
    assert fault.static_rule is None
    assert fault.first_flag is None


@pytest.mark.parametrize(
    ("service", "minute", "counts"),
    [
        ("duri_core", 5, True),
        ("duri_core", 119, True),
        ("duri_core", 121, False),
        ("duri_core", -1, False),
        ("duri_brain", 5, False),
    ],
)
def test_anomalies_belong_to_a_fault_by_service_and_time(service, minute, counts):
    """From its start until half an hour after its end, on its service."""
    summary = summary_of(anomaly("a", minute, [(Detector.LEARNED, minute)], service=service))
    assert (summary.faults[0].first_flag is not None) is counts
    assert summary.totals.anomalies_outside_faults == (0 if counts else 1)


def test_the_right_advice_is_found_after_a_wrong_one():
    """The first is reported as it is, and the first right one beside it."""
    wrong = recommendation("w", 10, kind="cpu_limit")
    (fault,) = summary_of(wrong, recommendation("r", 20)).faults
    assert (fault.first_advice.id, fault.first_advice.right) == ("w", False)
    assert (fault.right_advice.id, fault.right_advice.after_s) == ("r", 20 * 60)
    assert fault.right_advice.change == "pool_size 20 → 40"


def test_advice_that_matches_no_fault_is_false():
    """Wrong service or wrong time."""
    elsewhere = recommendation("e", 10, target=Target(service="duri_brain", component="redis"))
    totals = summary_of(elsewhere, recommendation("late", 500), recommendation("r", 20)).totals
    assert (totals.recommendations, totals.right_recommendations, totals.false_recommendations) == (3, 1, 2)


def test_a_recommendation_counts_once_with_its_first_record():
    """Updates do not make it later."""
    first = recommendation("r", 20)
    summary = summary_of(first, first.model_copy(update={"updated": at(60), "created": at(60)}))
    assert summary.totals.recommendations == 1
    assert summary.faults[0].first_advice.at == at(20)


def test_detectors_are_counted_per_anomaly():
    """One that two detectors flag counts for both, once each."""
    both = [(Detector.LEARNED, 1.0), (Detector.STATIC, 2.0), (Detector.STATIC, 3.0)]
    totals = summary_of(anomaly("a", 1, both), anomaly("b", 2)).totals
    assert totals.anomalies_by_detector == {"learned": 2, "static": 1}
    assert totals.samples_per_s == 500


def test_nothing_found_is_said():
    """No flags, no advice: nulls in JSON, plain words in the table."""
    summary = summary_of()
    decoded = msgspec.json.decode(msgspec.json.encode(summary))
    assert decoded["faults"][0]["first_flag"] is None
    assert decoded["faults"][0]["lead_s"] is None
    assert "not flagged" in printed(summary, 120)


@pytest.mark.parametrize("width", [80, 120])
def test_table_has_every_figure(width):
    """What, when, who, ahead, which advice; at both usual widths."""
    opened = anomaly("a", 12).model_copy(update={"detectors": [LEARNED, static(50)], "last_at": at(50)})
    summary = summary_of(anomaly("a", 12), opened, recommendation("r", 20))
    text = printed(summary, width)
    for piece in ("connection pool exhausted", "duri_core", "learned", "38 min", "pool_size 20 → 40", "right"):
        assert piece in text
    assert max(len(line) for line in text.splitlines()) <= width


def test_bytes_are_written_with_their_unit():
    """maxmemory is a size, not a number."""
    change = Change(parameter="maxmemory", current=float(512 << 20), recommended=float(1 << 30), unit="By")
    summary = summary_of(recommendation("r", 20, change=change))
    assert summary.faults[0].first_advice.change == "maxmemory 512 MiB → 1 GiB"


def printed(summary: DemoSummary, width: int) -> str:
    out = StringIO()
    print_summary(Console(file=out, width=width), summary)
    return out.getvalue()
