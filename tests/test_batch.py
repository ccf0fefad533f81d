from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext, suppress

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batch import SCHEMA, decode_batch, encode_batch, make_batch
from pipeline.series import parse_canonical
from tests.builders import START, series

# Runs apart: what is tested is that the process outlives it.
ATTACK = """
import random, sys
from tests.test_batch import read_all_of, stream

seed, rounds = int(sys.argv[1]), int(sys.argv[2])
chance = random.Random(seed)
valid = [stream(1, 1), stream(40, 8), stream(300, 7)]
read = 0
for _ in range(rounds):
    data = bytearray(chance.choice(valid))
    for _ in range(chance.randint(1, 4)):
        # Half of the flips hit the metadata, where they do most.
        end = len(data) if chance.random() < 0.5 else min(len(data), 1200)
        data[chance.randrange(end)] = chance.choice([0, 127, 128, 255, chance.randrange(256)])
    if chance.random() < 0.1:
        del data[chance.randrange(len(data)):]
    try:
        read_all_of(bytes(data))
        read += 1
    except ValueError:
        pass
assert 0 < read < rounds
"""


def stream(rows: int, count: int) -> bytes:
    """A valid stream of these many rows of these many series."""
    many = [series("m", i=str(number)) for number in range(count)]
    return encode_batch(
        make_batch(
            np.array([many[row % count].identity() for row in range(rows)], dtype=np.uint64),
            np.full(rows, START, dtype=np.int64),
            np.arange(rows, dtype=np.float64),
            [many[row].canonical() if row < count else None for row in range(rows)],
        )
    )


def read_all_of(data: bytes) -> int:
    """Decode and touch every value, as the stages do; rows read."""
    batch = decode_batch(data)
    for column in (batch.series, batch.ts, batch.value):
        assert len(column) == len(batch.labels)
        column.sum()
    sum(len(label) for label in batch.labels.to_pylist() if label is not None)
    assert batch.labels.take(pa.array(np.arange(len(batch)))).equals(batch.labels)
    return len(batch)


def table(**columns: pa.Array) -> pa.Table:
    """A table of one row as on `duri.samples`, some of its columns replaced."""
    one = series("m")
    valid = {
        "series": pa.array([one.identity()], pa.uint64()),
        "ts": pa.array([START]),
        "value": pa.array([1.0]),
        "labels": pa.array([one.canonical()], pa.binary()),
    }
    return pa.table([{**valid, **columns}[name] for name in SCHEMA.names], schema=SCHEMA)


def written(rows: pa.Table, compression: str | None = None, chunk: int | None = None) -> bytes:
    """The table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(rows, max_chunksize=chunk)
    data: bytes = sink.getvalue().to_pybytes()
    return data


@pytest.mark.parametrize("seed", range(4))
def test_corrupt_streams_do_not_end_the_process(seed: int) -> None:
    """Flipped and missing bytes are a ValueError or other values, never an abort, a fault or another exception."""
    ended = subprocess.run(
        [sys.executable, "-c", ATTACK, str(seed), "2000"], capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr[-2000:]


@given(st.integers(0, len(stream(12, 3)) - 1))
def test_truncated_streams_are_refused_or_empty(length: int) -> None:
    """A stream that ends early gives ValueError, or its rows where only the mark of the end is missing."""
    try:
        rows = read_all_of(stream(12, 3)[:length])
    except ValueError:
        return
    assert rows in (0, 12)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_a_value_error(tail: bytes) -> None:
    """What is no stream is a ValueError, with and without a stream's beginning."""
    for data in (tail, b"\xff\xff\xff\xff" + tail, stream(1, 1)[:200] + tail):
        with suppress(ValueError):
            assert read_all_of(data) == 0


@pytest.mark.parametrize("length", [2**31 - 1, 2**40, 2**62, -1, -(2**63)])
@pytest.mark.parametrize("what", ["length", "body"])
def test_declared_lengths_are_not_believed(what: str, length: int) -> None:
    """Row counts and body lengths that the message does not hold are refused before memory is asked for."""
    data = stream(300, 7)
    declared = (
        300 if what == "length" else next(iter(pa.ipc.MessageReader.open_stream(data[_schema_end(data) :]))).body.size
    )
    before = declared.to_bytes(8, "little")
    at = data.index(before, _schema_end(data))
    forged = data[:at] + length.to_bytes(8, "little", signed=True) + data[at + 8 :]
    before_bytes = pa.total_allocated_bytes()
    with pytest.raises(ValueError, match="not an Arrow IPC stream"):
        decode_batch(forged)
    assert pa.total_allocated_bytes() - before_bytes < 1 << 20


def _schema_end(data: bytes) -> int:
    return 8 + int.from_bytes(data[4:8], "little")


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_streams_are_read(compression: str) -> None:
    """Producers may compress."""
    assert read_all_of(written(table(), compression)) == 1


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("chunk", [None, 100_000])
def test_compressed_streams_that_unfold_without_end_are_refused(compression: str, chunk: int | None) -> None:
    """A small message that would fill the memory is refused before it is unfolded, in one batch or in many."""
    rows = 4_000_000
    zeros = np.zeros(rows, dtype=np.int64)
    bomb = written(
        table(
            series=pa.array(zeros.view(np.uint64)),
            ts=pa.array(zeros),
            value=pa.array(zeros.view(np.float64)),
            labels=pa.nulls(rows, pa.binary()),
        ),
        compression,
        chunk,
    )
    assert len(bomb) < 1_000_000
    with pytest.raises(ValueError, match="unfolds to"):
        decode_batch(bomb)


def test_old_metadata_is_read_unless_it_may_hide_a_compression() -> None:
    """Record batches of Arrow before 1.0 are read, but not with custom metadata: 0.17 named a compression there."""
    for custom, refused in ((None, False), ({"ARROW:experimental_compression": "zstd"}, True)):
        sink = pa.BufferOutputStream()
        old = pa.ipc.IpcWriteOptions(metadata_version=pa.ipc.MetadataVersion.V4)
        with pa.ipc.new_stream(sink, SCHEMA, options=old) as writer:
            writer.write_batch(table().to_batches()[0], custom_metadata=custom)
        with pytest.raises(ValueError, match="metadata V4") if refused else nullcontext():
            assert read_all_of(sink.getvalue().to_pybytes()) == 1


def test_several_record_batches_are_one_batch() -> None:
    """A stream may hold none, one or more record batches."""
    two = pa.concat_tables([table(), table()])
    assert read_all_of(written(two, chunk=1)) == 2
    assert read_all_of(written(two.slice(0, 0))) == 0
    assert read_all_of(written(SCHEMA.empty_table(), chunk=1)) == 0


def test_other_columns_are_refused() -> None:
    """Columns of other names or types are named."""
    with pytest.raises(ValueError, match="are not the columns of"):
        decode_batch(written(pa.table({"series": [1]})))


def test_nulls_where_there_must_be_none_are_refused() -> None:
    """A null is no time and no value."""
    nulls = pa.record_batch([pa.array([None], field.type) for field in SCHEMA], names=SCHEMA.names).cast(
        pa.schema([field.with_nullable(True) for field in SCHEMA])
    )
    forged = pa.RecordBatch.from_arrays(nulls.columns, schema=SCHEMA)
    with pytest.raises(ValueError, match="null"):
        decode_batch(written(pa.Table.from_batches([forged])))


@pytest.mark.parametrize("ts", [-1, -(2**63)])
def test_times_before_1970_are_refused(ts: int) -> None:
    """No sample is older than the epoch: frames and snapshots count from there."""
    with pytest.raises(ValueError, match="before 1970"):
        decode_batch(written(table(ts=pa.array([ts]))))


def test_bottomless_canonical_bytes_are_a_value_error() -> None:
    """Nesting beyond any sense and broken text in labels are ValueErrors like other labels that are no series."""
    for data in (b'{"x":' + b"[" * 100_000, b'{"name":"\xff"}', b'{"name":"a","labels":' * 50_000):
        with pytest.raises(ValueError, match="not a canonical series"):
            parse_canonical(data)
