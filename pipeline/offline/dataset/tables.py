"""The tables of a dataset: their columns, types and meaning; `docs/dataset.md` is this module in prose.

Every table has `timestamp` (event time, UTC, ms) first, is divided by its UTC day, and by the bucket of its service.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from pipeline.partitioning import partition_of

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION: Final = 1
"""Of the layout and all tables; it grows when a reader of the old ones would misread the new."""
BUCKETS: Final = 16
"""Service buckets of a new dataset."""


class Table(enum.StrEnum):
    """The tables by name, which is their folder."""

    SAMPLES = "samples"
    FRAMES = "frames"
    SETTINGS = "settings"
    ANOMALIES = "anomalies"
    INCIDENTS = "incidents"
    RECOMMENDATIONS = "recommendations"
    OUTCOMES = "outcomes"
    FEEDBACK = "feedback"
    CHANGES = "changes"
    MAINTENANCE = "maintenance"


TIME: Final = pa.timestamp("ms", tz="UTC")
WORD: Final = pa.dictionary(pa.int32(), pa.string())
"""A text that repeats: readers that know no dictionaries see a string."""
_TEXT, _NUMBER, _TEXTS = pa.string(), pa.float64(), pa.list_(pa.string())


def _schema(columns: Mapping[str, tuple[pa.DataType, str]]) -> pa.Schema:
    """Columns by name: type, and what it means."""
    fields = [pa.field(name, kind, metadata={"description": meaning}) for name, (kind, meaning) in columns.items()]
    return pa.schema(fields, metadata={"duri.dataset": str(SCHEMA_VERSION)})


_SERIES = {
    "service": (WORD, "service that the series belongs to"),
    "name": (WORD, "metric name"),
    "labels": (WORD, "the other labels, a JSON object with sorted keys"),
    "kind": (WORD, "gauge, counter or bucket"),
    "unit": (WORD, "UCUM unit, empty where there is none"),
}
_STATE = {
    "id": (_TEXT, "of what the record is about; its records share it"),
    "state": (WORD, "where in its life cycle it is"),
    "severity": (WORD, "info, warning or critical"),
}
_WHOLE = {"record": (_TEXT, "the whole record as it was published, JSON")}

SCHEMAS: Final[Mapping[Table, pa.Schema]] = {
    Table.SAMPLES: _schema(
        {
            "timestamp": (TIME, "event time"),
            **_SERIES,
            "series": (pa.int64(), "identity of name and labels: the bits of the uint64 on duri.samples"),
            "value": (_NUMBER, "as published; counters are not yet rates"),
        }
    ),
    Table.FRAMES: _schema(
        {
            "timestamp": (TIME, "start of the frame"),
            "end": (TIME, "its end"),
            "service": (WORD, "service"),
            "system": (WORD, "connected part of the service graph"),
            "signal": (WORD, "name of the signal"),
            "value": (_NUMBER, "of the signal in this frame; null without data"),
            "expected": (_NUMBER, "by the online learner before it saw the value; null without an expectation"),
            "lower": (_NUMBER, "lower end of the expected band"),
            "upper": (_NUMBER, "upper end of the expected band"),
            "score": (_NUMBER, "of the online learner, 0 to 1"),
        }
    ),
    Table.SETTINGS: _schema(
        {
            "timestamp": (TIME, "start of the frame"),
            "end": (TIME, "its end"),
            "service": (WORD, "service"),
            "setting": (WORD, "name of the configured limit: pool size, maxmemory, …"),
            "value": (_NUMBER, "as the service reported it"),
        }
    ),
    Table.ANOMALIES: _schema(
        {
            "timestamp": (TIME, "when it came into this state"),
            **_STATE,
            "service": (WORD, "service"),
            "signal": (WORD, "signal, or raw series"),
            "labels": (_TEXT, "labels of the entity within the service, a JSON object"),
            "unit": (WORD, "UCUM unit"),
            "opened_at": (TIME, "when it opened"),
            "last_at": (TIME, "when a detector last fired"),
            "closed_at": (TIME, "when it closed; null before"),
            "closed_because": (WORD, "recovered, new_normal or series_gone; null before"),
            "observed": (_NUMBER, "value when it deviated most; null when data is absent"),
            "expected": (_NUMBER, "what was expected then"),
            "lower": (_NUMBER, "lower end of the expected band"),
            "upper": (_NUMBER, "upper end of the expected band"),
            "score": (_NUMBER, "0 to 1"),
            "direction": (WORD, "up, down or none"),
            "detectors": (_TEXTS, "who fires or has fired"),
            "lead_s": (_NUMBER, "seconds ahead of the static rule; null where none fired"),
            "model_version": (WORD, "of the learners and trained models"),
            **_WHOLE,
        }
    ),
    Table.INCIDENTS: _schema(
        {
            "timestamp": (TIME, "when it came into this state"),
            **_STATE,
            "service": (WORD, "the most likely cause"),
            "system": (WORD, "connected part of the service graph"),
            "services": (_TEXTS, "all services concerned"),
            "opened_at": (TIME, "when it opened"),
            "last_at": (TIME, "when it last had an anomaly"),
            "closed_at": (TIME, "when it closed; null before"),
            "anomalies": (_TEXTS, "ids of its anomalies"),
            "recommendations": (_TEXTS, "ids of its recommendations"),
            **_WHOLE,
        }
    ),
    Table.RECOMMENDATIONS: _schema(
        {
            "timestamp": (TIME, "when it came into this state"),
            **_STATE,
            "service": (WORD, "service to change"),
            "kind": (WORD, "kind of change"),
            "category": (WORD, "tuning, capacity, rollback, fix or investigate"),
            "rank": (pa.int32(), "1 is the first choice within its incident"),
            "confidence": (_NUMBER, "0 to 1"),
            "created": (TIME, "when it was first proposed"),
            "incident": (_TEXT, "id of its incident"),
            "anomalies": (_TEXTS, "ids of the anomalies it rests on"),
            **_WHOLE,
        }
    ),
    Table.OUTCOMES: _schema(
        {
            "timestamp": (TIME, "when it was decided"),
            "id": (_TEXT, "of the outcome"),
            "recommendation": (_TEXT, "id of the recommendation"),
            "rule": (WORD, "catalogue rule that it came from"),
            "result": (WORD, "verified, no_effect, regressed, rejected or expired"),
            "signal": (WORD, "signal that was watched"),
            "before": (_NUMBER, "its level before the change"),
            "after": (_NUMBER, "its level after the change"),
            **_WHOLE,
        }
    ),
    Table.FEEDBACK: _schema(
        {
            "timestamp": (TIME, "when it was said"),
            "id": (_TEXT, "of the answer"),
            "recommendation": (_TEXT, "id of the recommendation"),
            "verdict": (WORD, "acknowledged, applied, rejected, false_alarm or snooze"),
            "by": (WORD, "who said it"),
            **_WHOLE,
        }
    ),
    Table.CHANGES: _schema(
        {
            "timestamp": (TIME, "when it was changed"),
            "id": (_TEXT, "of the change"),
            "service": (WORD, "service that was changed"),
            "change": (WORD, "deploy, config, scale, restart or other"),
            "version": (_TEXT, "version afterwards"),
            **_WHOLE,
        }
    ),
    Table.MAINTENANCE: _schema(
        {
            "timestamp": (TIME, "when it was announced"),
            "id": (_TEXT, "of the window"),
            "start": (TIME, "from when deviations are expected"),
            "end": (TIME, "until when"),
            "services": (_TEXTS, "of these services; empty: of all"),
            **_WHOLE,
        }
    ),
}


def bucket_of(service: str, buckets: int) -> int:
    """The service's bucket: murmur2 of its name, as Kafka's default partitioner; 0 where no service is named."""
    return partition_of(service.encode(), buckets) if service else 0
