"""Samples as columns, and their wire form on `duri.samples`: an Arrow IPC stream of one record batch.

series  uint64   identity of the series (`Series.identity`)
ts      int64    event time, ms since the epoch
value   float64
labels  binary   canonical bytes of the series at its first row in the batch, null at the others
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

ARROW_CONTENT_TYPE = "application/vnd.apache.arrow.stream"
SOURCE_HEADER = "duri.source"
"""Header of a message on `duri.samples`: the input partition it was read from, as `topic/partition`."""
ARRIVAL_HEADER = "duri.arrival"
"""Header likewise: the newest Kafka timestamp among the input records, ms."""

SCHEMA = pa.schema(
    [
        pa.field("series", pa.uint64(), nullable=False),
        pa.field("ts", pa.int64(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("labels", pa.binary()),
    ],
    metadata={"duri.schema": "samples.v1"},
)


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """n samples in log order.

    series uint64[n], ts int64[n] in ms, value float64[n]; `labels` maps row numbers to canonical bytes for (at
    least) the first row of each series.
    """

    series: npt.NDArray[np.uint64]
    ts: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    labels: pa.BinaryArray

    def __len__(self) -> int:
        return len(self.series)


def make_batch(
    series: npt.NDArray[np.uint64],
    ts: npt.NDArray[np.int64],
    value: npt.NDArray[np.float64],
    labels: Sequence[bytes | None] | pa.BinaryArray,
) -> SampleBatch:
    """Batch from equally long columns."""
    column = labels if isinstance(labels, pa.Array) else pa.array(labels, type=pa.binary())
    return SampleBatch(series=series, ts=ts, value=value, labels=column)


def encode_batch(batch: SampleBatch) -> bytes:
    """The batch as one Arrow IPC stream."""
    record_batch = pa.record_batch(
        [pa.array(batch.series), pa.array(batch.ts), pa.array(batch.value), batch.labels], schema=SCHEMA
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_batch(record_batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def decode_batch(data: bytes) -> SampleBatch:
    """Read an Arrow IPC stream back.

    Raises ValueError where the bytes are no Arrow stream, or its columns are not those of `SCHEMA`.
    """
    try:
        table = pa.ipc.open_stream(data).read_all().combine_chunks()
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"not an Arrow IPC stream: {error}") from error
    if not table.schema.equals(SCHEMA):
        raise ValueError(f"columns {table.schema.names} are not the columns of duri.samples {SCHEMA.names}")
    columns = [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in table.columns]
    return SampleBatch(
        series=columns[0].to_numpy(),
        ts=columns[1].to_numpy(),
        value=columns[2].to_numpy(),
        labels=columns[3],
    )


def concatenate(batches: Sequence[SampleBatch]) -> SampleBatch:
    """One batch of all rows, in order."""
    if len(batches) == 1:
        return batches[0]
    return SampleBatch(
        series=np.concatenate([batch.series for batch in batches]),
        ts=np.concatenate([batch.ts for batch in batches]),
        value=np.concatenate([batch.value for batch in batches]),
        labels=pa.concat_arrays([batch.labels for batch in batches]),
    )
