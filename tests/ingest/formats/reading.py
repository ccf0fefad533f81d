"""Messages through a decoder, told in the words of people: what came out, what was refused, and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import DecodeError
from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.formats.registry import by_name
from pipeline.ingest.points import Context
from pipeline.settings import IngestSettings
from tests.builders import START

if TYPE_CHECKING:
    from pipeline.ingest.points import Points

Row = tuple[str, dict[str, str], str, int, float]
"""Name, labels without the service, kind, ms after START, value."""


def context(*, key: bytes | None = b"svc", **settings: object) -> Context:
    """A message that arrived at START, its producer's key naming the service."""
    return Context(SeriesCatalog(IngestSettings(**settings), 4), key, START)


def decode(name: str, payload: bytes, given: Context | None = None) -> tuple[list[Row], Points]:
    """Rows in order, and the points they came from."""
    given = given or context()
    points = by_name(name).decode(payload, given)
    rows: list[Row] = []
    for series, ts, value in zip(
        np.asarray(points.series).tolist(),
        np.asarray(points.ts).tolist(),
        np.asarray(points.value).tolist(),
        strict=True,
    ):
        one = json.loads(given.catalog.series[series])
        labels = {label: text for label, text in one["labels"].items() if label != "service"}
        rows.append((one["name"], labels, one["kind"], ts - START, value))
    return rows, points


def rows(name: str, payload: bytes, given: Context | None = None) -> list[Row]:
    """Rows of a message that is accepted wholly."""
    found, points = decode(name, payload, given)
    assert not points.refused
    return found


def reason(name: str, payload: bytes, given: Context | None = None) -> str:
    """Reason of a message, or of its only piece, that is refused."""
    given = given or context()
    try:
        found, points = decode(name, payload, given)
    except DecodeError as error:
        return error.reason
    assert not found
    [piece] = points.refused
    return piece.error.reason
