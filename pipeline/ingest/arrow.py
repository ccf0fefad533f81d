"""Arrow: an IPC stream with the columns of `duri.samples` (see `pipeline.batch`); the fastest way in.

`series` must be the identity of the labels at the series' first row; the service is what `labels` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.batch import ARROW_CONTENT_TYPE, SampleBatch, decode_batch
from pipeline.errors import DecodeError
from pipeline.ingest.points import Points
from pipeline.series import parse_canonical

if TYPE_CHECKING:
    from pipeline.ingest.catalog import SeriesCatalog

CONTENT_TYPES = (ARROW_CONTENT_TYPE,)

_STREAM_START = b"\xff\xff\xff\xff"


def sniff(payload: bytes) -> bool:
    """The continuation marker that every Arrow IPC stream starts with."""
    return payload.startswith(_STREAM_START)


def decode(payload: bytes, catalog: SeriesCatalog, key: bytes | None) -> Points:  # noqa: ARG001  every decoder's signature
    """Columns of samples. Raises DecodeError."""
    try:
        batch = decode_batch(payload)
    except ValueError as error:
        raise DecodeError(str(error), reason="syntax") from error
    unique, first, inverse = np.unique(batch.series, return_index=True, return_inverse=True)
    known = np.fromiter(
        (_intern(batch, int(identity), int(row), catalog) for identity, row in zip(unique, first, strict=True)),
        dtype=np.int64,
        count=len(unique),
    )
    return Points(known[inverse], batch.ts, batch.value)


def _intern(batch: SampleBatch, identity: int, row: int, catalog: SeriesCatalog) -> int:
    known = catalog.index_of(identity)
    if known is not None:
        return known
    canonical = batch.labels[row].as_py()
    if canonical is None:
        raise DecodeError(f"series {identity:#x}: no labels at its first row ({row})", reason="labels")
    try:
        series = parse_canonical(canonical)
    except ValueError as error:
        raise DecodeError(f"row {row}: {error}", reason="labels") from error
    if series.identity() != identity:
        raise DecodeError(f"row {row}: {identity:#x} is not the identity of its labels", reason="labels")
    return catalog.intern_canonical(series)
