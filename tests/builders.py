"""Builders that several test packages share: series, messages, logs."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.batch import ARRIVAL_HEADER, ARROW_CONTENT_TYPE, SOURCE_HEADER, encode_batch, make_batch
from pipeline.series import Series, kind_of_name, unit_of_name
from pipeline.stage import LogRecord, Output

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

START = 1_767_225_600_000
"""2026-01-01T00:00:00Z in ms: the start of a day, an hour and a minute."""
SOURCE = "duri.metrics/0"


def series(name: str, service: str = "duri_core", **labels: str) -> Series:
    """A series as ingest would make it from its name."""
    return Series(name=name, labels={"service": service, **labels}, kind=kind_of_name(name), unit=unit_of_name(name))


Row = tuple[Series, int, float]


def samples(offset: int, rows: Sequence[Row], source: str = SOURCE) -> LogRecord:
    """A record of `duri.samples` with these rows."""
    seen: set[int] = set()
    labels: list[bytes | None] = []
    for one, _, _ in rows:
        labels.append(None if one.identity() in seen else one.canonical())
        seen.add(one.identity())
    batch = make_batch(
        np.array([one.identity() for one, _, _ in rows], dtype=np.uint64),
        np.array([ts for _, ts, _ in rows], dtype=np.int64),
        np.array([value for _, _, value in rows], dtype=np.float64),
        labels,
    )
    newest = max(ts for _, ts, _ in rows)
    headers = [
        ("content-type", ARROW_CONTENT_TYPE.encode()),
        (SOURCE_HEADER, source.encode()),
        (ARRIVAL_HEADER, str(newest).encode()),
    ]
    return LogRecord("duri.samples", 0, offset, newest, None, encode_batch(batch), headers)


def message(offset: int, body: Any, *, key: bytes | None = None, timestamp: int = START, **headers: str) -> LogRecord:
    """A record of `duri.metrics`; `body` is bytes, or becomes JSON."""
    value = body if isinstance(body, bytes) else json.dumps(body).encode()
    encoded = [(name.replace("_", "-"), text.encode()) for name, text in headers.items()]
    return LogRecord("duri.metrics", 0, offset, timestamp, key, value, encoded)


def as_input(outputs: Iterable[Output], topic: str, start: int = 0) -> list[LogRecord]:
    """Outputs as the next stage's input log."""
    return [
        LogRecord(topic, output.partition or 0, start + at, output.timestamp, output.key, output.value, output.headers)
        for at, output in enumerate(outputs)
    ]


def cut(log: Sequence[LogRecord], places: Iterable[int]) -> list[Sequence[LogRecord]]:
    """The log in pieces, cut at these places."""
    bounds = [0, *sorted({place % (len(log) + 1) for place in places}), len(log)]
    return [log[a:b] for a, b in pairwise(bounds) if b > a]


def moved(record: LogRecord, offset: int) -> LogRecord:
    """The same record at another offset."""
    return replace(record, offset=offset)
