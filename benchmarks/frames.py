"""Frames of generated services, as datasets have them: for the benchmarks of offline work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from pipeline.offline.dataset.tables import SCHEMAS, TIME, Table, bucket_of
from pipeline.offline.dataset.writer import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.offline.dataset.writer import DatasetWriter

START: Final = 1_767_225_600_000
"""2026-01-01, ms."""
MINUTE_MS: Final = 60_000


def write_frames(writer: DatasetWriter, service: str, signals: Sequence[str], value: np.ndarray) -> None:
    """Values float64[t, signals] of a service, a frame a minute from START on."""
    frames = len(value)
    start = START + np.arange(frames) * MINUTE_MS
    bucket = np.full(frames, bucket_of(service, writer.buckets), dtype=np.int32)
    for column, signal in enumerate(signals):
        words = {"service": service, "system": "default", "signal": signal}
        columns = {
            "timestamp": pa.array(start).cast(TIME),
            "end": pa.array(start + MINUTE_MS).cast(TIME),
            "value": pa.array(value[:, column]),
            **{name: pa.array([word] * frames).dictionary_encode() for name, word in words.items()},
            **dict.fromkeys(("expected", "lower", "upper", "score"), pa.nulls(frames, pa.float64())),
        }
        schema = SCHEMAS[Table.FRAMES]
        table = pa.table([columns[name] for name in schema.names], schema=schema)
        writer.write(Rows(Table.FRAMES, table, bucket, np.zeros(frames, dtype=np.int64)))
