"""Columnar JSON: the series once, then columns of samples.

    {"series": [{"name": "http_requests_total", "labels": {"service": "duri_core"}}, …],
     "index": [0, 1, 0, …], "ts": [1767225600000, …], "value": [17, …]}

`index` says which series a row belongs to and is left out where row i belongs to series i; a single `ts` serves all
rows. `series` is the first key: that is how the format is told from a JSON sample.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from pipeline.errors import DecodeError
from pipeline.ingest.parsing import parse_json
from pipeline.ingest.points import Points
from pipeline.ingest.timestamps import column_to_millis

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.ingest.points import Context

CONTENT_TYPES = ("application/vnd.duri.columnar+json",)

_START = re.compile(rb'\s*\{\s*"series"\s*:')


class _Series(msgspec.Struct, gc=False):
    name: str
    labels: msgspec.Raw = msgspec.Raw(b"{}")
    kind: str | None = None
    unit: str | None = None


class _Columns(msgspec.Struct, gc=False):
    series: msgspec.Raw
    value: list[float]
    ts: list[int | float | str] | int | float | str
    index: list[int] | None = None


_columns = msgspec.json.Decoder(_Columns)
_series = msgspec.json.Decoder(list[_Series])


def sniff(payload: bytes) -> bool:
    """A JSON object whose first key is `series`."""
    return _START.match(payload) is not None


def decode(payload: bytes, context: Context) -> Points:
    """Columns of samples. Raises DecodeError."""
    columns = parse_json(_columns, payload, "columnar JSON")
    value = np.asarray(columns.value, dtype=np.float64)
    index = _indexes(columns, context)
    ts = column_to_millis(columns.ts if isinstance(columns.ts, list) else [columns.ts] * len(value))
    if not len(index) == len(ts) == len(value):
        raise DecodeError(
            f"columns differ in length: {len(index)} series or index, {len(ts)} ts, {len(value)} value", reason="fields"
        )
    return Points(index, ts, value)


def _indexes(columns: _Columns, context: Context) -> npt.NDArray[np.int64]:
    known = _interned(bytes(columns.series), context)
    if columns.index is None:
        return known
    try:
        rows = np.asarray(columns.index, dtype=np.int64)
    except OverflowError as error:
        raise DecodeError(f"index names a series outside 0…{len(known) - 1}", reason="fields") from error
    if len(rows) and (rows.min() < 0 or rows.max() >= len(known)):
        raise DecodeError(f"index names a series outside 0…{len(known) - 1}", reason="fields")
    return known[rows]


def _interned(section: bytes, context: Context) -> npt.NDArray[np.int64]:
    """Catalog indexes of the series in this part of the message; publishers repeat it, so it is looked up whole."""
    catalog, key = context.catalog, context.key
    known = catalog.sections.get((section, key))
    if known is None:
        entries = parse_json(_series, section, "a list of series")
        catalog.limits.check_series(len(entries))
        indexes = [catalog.intern_raw(one.name, bytes(one.labels), key, one.kind, one.unit) for one in entries]
        known = catalog.sections.put((section, key), np.asarray(indexes, dtype=np.int64))
    return known
