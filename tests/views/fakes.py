"""Records as the stages would write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipeline.records import (
    Anomaly,
    AnomalyState,
    Change,
    Command,
    Detector,
    Direction,
    Effect,
    Firing,
    How,
    Incident,
    IncidentState,
    Provenance,
    Recommendation,
    RecommendationProvenance,
    RecommendationState,
    Severity,
    Target,
    Verification,
    Why,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

NOON = datetime(2025, 1, 7, 12, tzinfo=UTC)
_SOURCE = Provenance(topic="duri.samples", partition=0, offset=1)


def at(minutes: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def anomaly(
    identity: str = "a1",
    minutes: float = 0.0,
    detectors: Sequence[tuple[Detector, float]] = ((Detector.LEARNED, 0.0),),
    **changes: Any,
) -> Anomaly:
    """An open anomaly; each detector with the minute (after noon) since which it fires."""
    firings = [Firing(detector=one, severity=Severity.WARNING, score=0.8, since=at(since)) for one, since in detectors]
    fields: dict[str, Any] = {
        "id": identity,
        "state": AnomalyState.OPENED,
        "severity": Severity.WARNING,
        "service": "duri_core",
        "labels": {},
        "signal": "http.latency.p95",
        "unit": "s",
        "opened_at": at(minutes),
        "last_at": at(minutes),
        "observed": 0.72,
        "expected": 0.16,
        "lower": 0.1,
        "upper": 0.2,
        "score": 0.9,
        "direction": Direction.UP,
        "detectors": firings,
        "provenance": _SOURCE,
    }
    return Anomaly(**{**fields, **changes})


def recommendation(identity: str = "r1", minutes: float = 0.0, **changes: Any) -> Recommendation:
    """A standing recommendation to enlarge duri_core's pool."""
    fields: dict[str, Any] = {
        "id": identity,
        "kind": "pool_size",
        "category": "tuning",
        "created": at(minutes),
        "updated": at(minutes),
        "expires": at(minutes + 1440),
        "target": Target(service="duri_core", component="application"),
        "state": RecommendationState.PROPOSED,
        "severity": Severity.CRITICAL,
        "rank": 1,
        "confidence": 0.82,
        "why": Why(findings=["POOL"], reason="All connections are in use and requests wait for one.", evidence=[]),
        "change": Change(parameter="pool_size", current=20, recommended=40),
        "how": How(commands=[Command(via="env", run="DB_POOL_SIZE=40")], restart_required=True),
        "effect": Effect(signal="http.latency.p95", text="falls to 160 ms", basis="no more waiting"),
        "risk": "low",
        "undo": [Command(via="env", run="DB_POOL_SIZE=20")],
        "verification": Verification(signal="db.pool.utilisation", condition="< 0.8", after_s=300.0),
        "provenance": RecommendationProvenance(rule="pool", rule_version="1"),
    }
    return Recommendation(**{**fields, **changes})


def incident(identity: str = "i", **changes: Any) -> Incident:
    """An open incident that duri_core causes."""
    fields: dict[str, Any] = {
        "id": identity,
        "state": IncidentState.OPENED,
        "severity": Severity.CRITICAL,
        "system": "default",
        "services": ["duri_core"],
        "cause": "duri_core",
        "summary": "requests wait for connections",
        "opened_at": at(0),
        "last_at": at(5),
        "anomalies": ["a"],
    }
    return Incident(**{**fields, **changes})


def in_incident(identity: str, of: str, **changes: Any) -> Recommendation:
    """A recommendation of that incident."""
    record = recommendation(identity, **changes)
    return record.model_copy(update={"why": record.why.model_copy(update={"incident": of})})
