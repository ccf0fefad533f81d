"""The records that people and programs read: versioned, validated, with a JSON Schema each.

They travel as JSON with CloudEvents binary-mode headers (CloudEvents 1.0, Kafka protocol binding § 3.2).
Times are ISO 8601 in UTC; ids are hashes of what identifies the record, so a repeated record has the same id.
"""

from __future__ import annotations

from pipeline.records.anomalies import (
    Anomaly,
    AnomalyState,
    ClosedBecause,
    Contribution,
    Detector,
    Firing,
    Provenance,
)
from pipeline.records.base import (
    JSON_CONTENT_TYPE,
    SCHEMA_VERSION,
    Direction,
    Record,
    Severity,
    Share,
    cloudevent_headers,
    content_id,
    from_ms,
    to_ms,
)
from pipeline.records.frames import (
    Frame,
    OpenAnomaly,
    SignalFrame,
    SourceIdle,
    Tick,
    Watermark,
)
from pipeline.records.incidents import (
    Incident,
    IncidentState,
)
from pipeline.records.inputs import (
    ChangeEvent,
    Feedback,
    MaintenanceWindow,
    Sample,
)
from pipeline.records.recommendations import (
    MOVES,
    Change,
    Command,
    Effect,
    Evidence,
    How,
    Outcome,
    Recommendation,
    RecommendationProvenance,
    RecommendationState,
    Target,
    Verification,
    Why,
    check_move,
)

__all__ = [
    "JSON_CONTENT_TYPE",
    "MOVES",
    "PUBLIC_RECORDS",
    "SCHEMA_VERSION",
    "Anomaly",
    "AnomalyState",
    "Change",
    "ChangeEvent",
    "ClosedBecause",
    "Command",
    "Contribution",
    "Detector",
    "Direction",
    "Effect",
    "Evidence",
    "Feedback",
    "Firing",
    "Frame",
    "How",
    "Incident",
    "IncidentState",
    "MaintenanceWindow",
    "OpenAnomaly",
    "Outcome",
    "Provenance",
    "Recommendation",
    "RecommendationProvenance",
    "RecommendationState",
    "Record",
    "Sample",
    "Severity",
    "Share",
    "SignalFrame",
    "SourceIdle",
    "Target",
    "Tick",
    "Verification",
    "Watermark",
    "Why",
    "check_move",
    "cloudevent_headers",
    "content_id",
    "from_ms",
    "to_ms",
]

PUBLIC_RECORDS: tuple[type[Record], ...] = (
    Sample,
    Frame,
    Anomaly,
    Incident,
    Recommendation,
    Outcome,
    Feedback,
    ChangeEvent,
    MaintenanceWindow,
    Watermark,
    Tick,
    SourceIdle,
)
"""The records that have a message of their own; `duri schema` writes one JSON Schema for each."""
