"""Arrow: an IPC stream with the columns of `duri.samples` (see `pipeline.batch`); the fastest way in.

`series` must be the identity of the labels at the series' first row; the service is what `labels` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.batch import ARROW_CONTENT_TYPE, SampleBatch, TimeBefore1970Error, decode_batch
from pipeline.errors import DecodeError
from pipeline.ingest.points import Points
from pipeline.series import parse_canonical

if TYPE_CHECKING:
    from pipeline.ingest.points import Context

CONTENT_TYPES = (ARROW_CONTENT_TYPE,)

_STREAM_START = b"\xff\xff\xff\xff"


def sniff(payload: bytes) -> bool:
    """The continuation marker that every Arrow IPC stream starts with."""
    return payload.startswith(_STREAM_START)


def decode(payload: bytes, context: Context) -> Points:
    """Columns of samples. Raises DecodeError."""
    try:
        batch = decode_batch(payload)
    except TimeBefore1970Error as error:
        raise DecodeError(str(error), reason="timestamp") from error
    except ValueError as error:
        raise DecodeError(str(error), reason="syntax") from error
    unique, first, inverse = np.unique(batch.series, return_index=True, return_inverse=True)
    context.catalog.limits.check_series(len(unique))
    known = np.fromiter(
        (_intern(batch, int(identity), int(row), context) for identity, row in zip(unique, first, strict=True)),
        dtype=np.int64,
        count=len(unique),
    )
    return Points(known[inverse], batch.ts, batch.value)


def _intern(batch: SampleBatch, identity: int, row: int, context: Context) -> int:
    catalog = context.catalog
    known = catalog.series.find(identity)
    if known is not None:
        return known
    canonical = batch.labels[row].as_py()
    if canonical is None:
        raise DecodeError(f"series {identity:#x}: no labels at its first row ({row})", reason="labels")
    try:
        series = parse_canonical(canonical)
    except ValueError as error:
        raise DecodeError(f"row {row}: {error}", reason="labels") from error
    # Held to the same rules as series of every other format; what they change is another series than was named.
    index = catalog.intern(series.name, series.labels, context.key, series.kind, series.unit)
    if catalog.series.identity[index] != identity:
        raise DecodeError(
            f"row {row}: {identity:#x} is not the identity of its labels "
            f"({catalog.series[index][:200].decode('utf-8', 'replace')})",
            reason="labels",
        )
    return index
