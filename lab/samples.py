"""Scraped samples: kept in rows, written as Parquet in long form, preceded by a history of healthy minutes.

A learner needs a quarter of an hour and thirty values before it judges. The lab's healthy phase is shorter, so it is
repeated back in time: the same values, counters continued, as often as `HISTORY_S` asks. It stands for an uneventful
twenty minutes before the lab was started, and it is the only part of a run that was not measured at its own time.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.series import Kind
from pipeline.sources.recording import Recording, series_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HISTORY_S = 1200.0
_AGES = ("pg_stat_activity_max_tx_duration",)


class Row(NamedTuple):
    """One sample: `ts` in ms, `labels` as sorted JSON."""

    ts: int
    service: str
    name: str
    labels: str
    value: float


def row(ts: int, service: str, name: str, labels: dict[str, str], value: float) -> Row:
    """A row with its labels in their one order."""
    return Row(ts, service, name, json.dumps(labels, sort_keys=True), value)


def to_recording(rows: Sequence[Row]) -> Recording:
    """The rows as the stages' inputs take them, in order of time."""
    numbers: dict[tuple[str, str, str], int] = {}
    index = [numbers.setdefault(one[1:4], len(numbers)) for one in rows]
    return Recording(
        series=[series_of(name, service, json.loads(labels)) for service, name, labels in numbers],
        index=np.array(index, dtype=np.int64),
        ts=np.array([one.ts for one in rows], dtype=np.int64),
        value=np.array([one.value for one in rows], dtype=np.float64),
    ).in_order()


def stretched(rows: Sequence[Row], speed: float) -> list[Row]:
    """Rows whose time runs `speed` times faster: counters grow by as much more, so that rates stay what they were.

    The age of what lasts over scrapes grows with the same clock.
    """
    return [one._replace(value=one.value * speed) if one.name in _AGES or _counts(one) else one for one in rows]


def _counts(one: Row) -> bool:
    return series_of(one.name, one.service, json.loads(one.labels)).kind is Kind.COUNTER


def history(healthy: Sequence[Row], scrape_ms: int) -> list[Row]:
    """The healthy rows repeated before themselves, oldest first; counters begin lower and arrive where they began."""
    by_series: dict[tuple[str, str, str], list[Row]] = {}
    for one in healthy:
        by_series.setdefault(one[1:4], []).append(one)
    length = max(one.ts for one in healthy) - min(one.ts for one in healthy) + scrape_ms
    found: list[Row] = []
    for (service, name, labels), rows in by_series.items():
        kind = series_of(name, service, json.loads(labels)).kind
        grown = rows[-1].value - rows[0].value if kind is Kind.COUNTER else 0.0
        # The step between two repetitions is a scrape like the others.
        growth = grown * len(rows) / max(1, len(rows) - 1)
        for number in range(1, int(HISTORY_S * 1000 // length) + 1):
            found += [one._replace(ts=one.ts - number * length, value=one.value - number * growth) for one in rows]
    return sorted(found)


def write(path: Path, rows: Sequence[Row], metadata: dict[bytes, bytes]) -> None:
    """Write rows in long form with metadata of the schema: series by series, for that is two thirds of the size."""
    names = ("timestamp", "service", "name", "labels", "value")
    columns = zip(*sorted(rows, key=lambda one: (*one[1:4], one.ts)), strict=True)
    table = pa.table({name: pa.array(column) for name, column in zip(names, columns, strict=True)})
    pq.write_table(
        table.replace_schema_metadata(metadata),
        path,
        compression="zstd",
        compression_level=15,
        use_dictionary=list(names[:4]),
        column_encoding={"value": "BYTE_STREAM_SPLIT"},
    )


def read(path: Path) -> list[Row]:
    """Rows of a file that `write` wrote, in order of time."""
    return sorted(Row(*one.values()) for one in pq.read_table(path).to_pylist())
