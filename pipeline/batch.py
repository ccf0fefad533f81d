"""Samples as columns, and their wire form on `duri.samples`: an Arrow IPC stream of one record batch.

series  uint64   identity of the series (`Series.identity`)
ts      int64    event time, ms since the epoch
value   float64
labels  binary   canonical bytes of the series at its first row in the batch, null at the others
"""

from __future__ import annotations

import struct
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

_NO_ROWS = pa.RecordBatch.from_pylist([], schema=SCHEMA)
_MAX_UNFOLDED = 64 << 20
"""Bytes that a compressed message may take in memory: 64 times what Kafka takes as one message by default."""
# Slots of the fields in the flatbuffer tables Message and RecordBatch.
_MESSAGE_HEADER, _MESSAGE_CUSTOM = 2, 4
_BATCH_BUFFERS, _BATCH_COMPRESSION = 2, 3


class TimeBefore1970Error(ValueError):
    """A sample's time is negative: frames, snapshots and Kafka count from 1970."""


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

    Raises ValueError where the bytes are no Arrow stream, or its columns are not those of `SCHEMA`; its subclass
    TimeBefore1970Error where a time is negative.
    """
    try:
        batches = _record_batches(data)
        rows = batches[0] if len(batches) == 1 else pa.concat_batches(batches or [_NO_ROWS])
        series, ts, value = (column.to_numpy() for column in rows.columns[:3])
    except (pa.ArrowException, OSError, struct.error) as error:
        raise ValueError(f"not an Arrow IPC stream: {error}") from error
    if len(ts) and ts.min() < 0:
        raise TimeBefore1970Error(f"a sample is from before 1970: {ts.min()} ms")
    return SampleBatch(series=series, ts=ts, value=value, labels=rows.column(3))


def _record_batches(data: bytes) -> list[pa.RecordBatch]:
    """The stream's record batches, read message by message: each is looked at before it takes memory."""
    messages = list(pa.ipc.MessageReader.open_stream(data))
    kinds = [message.type for message in messages]
    if kinds != ["schema", *["record batch"] * (len(kinds) - 1)]:
        raise ValueError(f"not an Arrow IPC stream: a schema and record batches are wanted, not {kinds[:4]}")
    schema = pa.ipc.read_schema(messages[0])
    if not schema.equals(SCHEMA):
        raise ValueError(f"columns {schema.names} are not the columns of duri.samples {SCHEMA.names}")
    unfolded = sum(_unfolded_bytes(message) for message in messages[1:])
    if unfolded > _MAX_UNFOLDED:
        raise ValueError(f"the message unfolds to {unfolded} bytes; at most {_MAX_UNFOLDED} are taken")
    batches = [pa.ipc.read_record_batch(message, SCHEMA) for message in messages[1:]]
    for batch in batches:
        # Values are read in place, unchecked: an offset out of the message would end the process.
        batch.validate(full=True)
    return batches


def _unfolded_bytes(message: pa.Message) -> int:
    """Bytes that a compressed record batch says it unfolds to, 0 for a plain one.

    Arrow asks for them before it unfolds, and tells nobody: they are read from the message's flatbuffer, which Arrow
    has verified, and the body (Message.fbs and Schema.fbs of apache/arrow).
    """
    metadata = memoryview(message.metadata)
    root = _follow(metadata, 0)
    if message.metadata_version != pa.ipc.MetadataVersion.V5 and _field(metadata, root, _MESSAGE_CUSTOM):
        # There Arrow 0.17 put the name of a compression; no producer since then needs it.
        raise ValueError("a record batch of metadata V4 with custom metadata is not read")
    batch = _follow(metadata, _field(metadata, root, _MESSAGE_HEADER))
    if not _field(metadata, batch, _BATCH_COMPRESSION):
        return 0
    buffers = _follow(metadata, _field(metadata, batch, _BATCH_BUFFERS))
    (count,) = struct.unpack_from("<I", metadata, buffers)
    body = memoryview(message.body)
    places = struct.iter_unpack("<qq", metadata[buffers + 4 : buffers + 4 + 16 * count])
    # Each buffer starts with its unfolded length, -1 where it is plain after all.
    return sum(max(0, *struct.unpack_from("<q", body, start)) for start, length in places if length)


def _follow(metadata: memoryview, at: int) -> int:
    """Place that the flatbuffer's offset at this place leads to."""
    (offset,) = struct.unpack_from("<I", metadata, at)
    return at + int(offset)


def _field(metadata: memoryview, table: int, slot: int) -> int:
    """Place of a field of the flatbuffer's table, 0 where it is left out."""
    directory = table - struct.unpack_from("<i", metadata, table)[0]
    entry = 4 + 2 * slot
    if entry >= struct.unpack_from("<H", metadata, directory)[0]:
        return 0
    (offset,) = struct.unpack_from("<H", metadata, directory + entry)
    return table + int(offset) if offset else 0


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
