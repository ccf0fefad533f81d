"""What people read, on its way into a dataset: one row a record, with the whole record beside its columns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from pipeline.offline.dataset.tables import SCHEMAS, Table, bucket_of
from pipeline.offline.dataset.writer import Rows
from pipeline.records import (
    Anomaly,
    ChangeEvent,
    Feedback,
    Incident,
    MaintenanceWindow,
    Outcome,
    Recommendation,
    to_ms,
)
from pipeline.stage import header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipeline.offline.dataset.columns import Window
    from pipeline.records import Record
    from pipeline.stage import InputRecord

_MOST_ROWS: Final = 100_000
_MOST_BYTES: Final = 64 << 20

Row = dict[str, Any]


def _anomaly(record: Anomaly) -> Row:
    return {
        "timestamp": record.closed_at or record.last_at,
        "labels": json.dumps(record.labels, sort_keys=True, ensure_ascii=False),
        "detectors": [firing.detector.value for firing in record.detectors],
        **_same(record, Table.ANOMALIES),
    }


def _incident(record: Incident) -> Row:
    return {
        "timestamp": record.closed_at or record.last_at,
        "service": record.cause,
        **_same(record, Table.INCIDENTS),
    }


def _recommendation(record: Recommendation) -> Row:
    return {
        "timestamp": record.updated,
        "service": record.target.service,
        "incident": record.why.incident,
        "anomalies": record.why.anomalies,
        **_same(record, Table.RECOMMENDATIONS),
    }


def _outcome(record: Outcome) -> Row:
    return {"timestamp": record.at, **_same(record, Table.OUTCOMES)}


def _feedback(record: Feedback) -> Row:
    return {"timestamp": record.at, **_same(record, Table.FEEDBACK)}


def _change(record: ChangeEvent) -> Row:
    return {"timestamp": record.at, **_same(record, Table.CHANGES)}


def _maintenance(record: MaintenanceWindow) -> Row:
    return {"timestamp": record.at, **_same(record, Table.MAINTENANCE)}


def _same(record: Record, table: Table) -> Row:
    """The columns that are called as the record's fields, where these are no records and tables themselves."""
    names = set(SCHEMAS[table].names) & set(type(record).model_fields) - {"detectors", "labels"}
    return {name: getattr(record, name) for name in names}


_KINDS: Final[Mapping[str, tuple[Table, type[Record], Callable[[Any], Row]]]] = {
    kind.event_type(): (table, kind, row)
    for table, kind, row in (
        (Table.ANOMALIES, Anomaly, _anomaly),
        (Table.INCIDENTS, Incident, _incident),
        (Table.RECOMMENDATIONS, Recommendation, _recommendation),
        (Table.OUTCOMES, Outcome, _outcome),
        (Table.FEEDBACK, Feedback, _feedback),
        (Table.CHANGES, ChangeEvent, _change),
        (Table.MAINTENANCE, MaintenanceWindow, _maintenance),
    )
}


class RecordRows:
    """Collects public records; a full one must be taken before more is added."""

    def __init__(self, buckets: int) -> None:
        self._buckets = buckets
        self._clear()

    def _clear(self) -> None:
        self._found: dict[Table, list[Row]] = {}
        self._bytes = 0
        self.rows = 0

    @property
    def full(self) -> bool:
        """Whether the rows should be taken now: memory has a bound."""
        return self.rows >= _MOST_ROWS or self._bytes >= _MOST_BYTES

    def add(self, record: InputRecord, window: Window) -> int | None:
        """Take a record whose time lies within the window; its time (ms), None where its kind has no table.

        Raises ValueError where it cannot be read.
        """
        event_type = (header(record, "ce_type") or b"").decode("utf-8", "replace")
        if event_type not in _KINDS:
            return None
        table, kind, row_of = _KINDS[event_type]
        value = record.value or b""
        row = row_of(kind.model_validate_json(value))
        at = to_ms(row["timestamp"])
        if window.has(at):
            if "record" in SCHEMAS[table].names:
                row["record"] = value.decode()
            self._found.setdefault(table, []).append(row)
            self._bytes += len(value)
            self.rows += 1
        return at

    def take(self) -> Iterator[Rows]:
        """The rows of each table, which are forgotten here."""
        found = self._found
        self._clear()
        for table, rows in sorted(found.items()):
            bucket = [bucket_of(row.get("service", ""), self._buckets) for row in rows]
            columns = pa.Table.from_pylist(rows, schema=SCHEMAS[table])
            yield Rows(table, columns, np.array(bucket, dtype=np.int32), np.zeros(len(rows), dtype=np.int64))
