from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace

import cramjam
import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from pipeline.batch import SCHEMA, encode_batch, make_batch
from pipeline.errors import DecodeError
from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.deadletters import dead_letter
from pipeline.ingest.formats import arrow, samples_json
from pipeline.ingest.formats.registry import FORMATS, Format, by_name, decode_message, open_message
from pipeline.ingest.limits import Limits
from pipeline.ingest.points import Context
from pipeline.ingest.protobuf.remote_write_pb2 import WriteRequest
from pipeline.ingest.timestamps import to_millis
from pipeline.series import Kind, Series
from pipeline.settings import IngestSettings
from tests.builders import START, message, series
from tests.ingest.promises import check

HUGE = 1180591620717411303424  # 2^70
NESTED = b"[" * 100_000


def catalog(**settings: object) -> SeriesCatalog:
    return SeriesCatalog(IngestSettings(**settings), 4)


def arrow_message(one: Series, ts: int = START, identity: int | None = None) -> bytes:
    """One row of this series."""
    return arrow_bytes(one.canonical(), one.identity() if identity is None else identity, ts)


def arrow_bytes(labels: bytes | None, identity: int, ts: int = START) -> bytes:
    """One row with these bytes as labels."""
    return encode_batch(make_batch(np.array([identity], dtype=np.uint64), np.array([ts]), np.array([1.0]), [labels]))


def reason(decoder: Format, payload: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        decoder.decode(payload, Context(catalog(), None, START))
    return caught.value.reason


JSON, COLUMNAR, ARROW = (next(f for f in FORMATS if f.name == name) for name in ("json", "columnar", "arrow"))

numbers = st.one_of(
    st.integers(),
    st.sampled_from([HUGE, -HUGE, 2**63, 2**63 - 1, 2**64, -(2**63) - 1, 10**400, -1, 10**20]),
    st.floats(),  # NaN and Infinity, too: Python's json writes them
)
texts = st.one_of(st.text(max_size=20), st.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]))
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)
sample = {"name": "up", "labels": {"service": "a"}, "ts": START, "value": 1.0, "kind": "gauge", "unit": "s"}
one_series = {"name": "up", "labels": {"service": "a"}, "kind": "gauge", "unit": "s"}
columns = {"series": [one_series, one_series], "index": [0, 1], "ts": [START, START], "value": [1, 2]}


def spoilt(valid: dict[str, object], *more: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """The valid object with something else in some of its fields."""
    return st.dictionaries(st.sampled_from(sorted(valid)), st.one_of(anything, *more), min_size=1).map(
        lambda wrong: {**valid, **wrong}
    )


keys = st.one_of(st.none(), st.binary(max_size=8))


@given(st.one_of(spoilt(sample), st.lists(spoilt(sample), max_size=3), anything), keys)
def test_json_raises_only_decode_errors(body: object, key: bytes | None) -> None:
    """Any JSON in any field of a sample is a sample or a DecodeError."""
    check(JSON, json.dumps(body).encode(), key)


@given(st.one_of(spoilt(columns, st.lists(numbers), st.lists(spoilt(one_series), max_size=3)), anything), keys)
def test_columnar_raises_only_decode_errors(body: object, key: bytes | None) -> None:
    """Any JSON in any column is samples or a DecodeError."""
    check(COLUMNAR, json.dumps(body).encode(), key)


@given(spoilt({"name": "m", "labels": {"service": "a"}, "kind": "gauge", "unit": ""}), keys)
def test_arrow_labels_raise_only_decode_errors(body: object, key: bytes | None) -> None:
    """Any JSON in any field of the labels is a series or a DecodeError."""
    check(ARROW, arrow_bytes(json.dumps(body).encode(), 1), key)


@given(
    st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1), st.floats(), keys), max_size=5),
    st.sampled_from(["series", "ts", "value", "labels", None]),
)
def test_arrow_columns_raise_only_decode_errors(
    rows: list[tuple[int, int, float, bytes | None]], renamed: str | None
) -> None:
    """Any values in the right columns, and the wrong columns, are samples or a DecodeError."""
    values = [
        pa.array(list(column), field.type) for column, field in zip(zip(*rows, strict=True), SCHEMA, strict=False)
    ]
    table = pa.table(values or [[]] * 4, schema=SCHEMA)
    table = table.rename_columns([f"{name}?" if name == renamed else name for name in SCHEMA.names])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    check(ARROW, sink.getvalue().to_pybytes())


@pytest.mark.parametrize("decoder", FORMATS, ids=lambda decoder: decoder.name)
@given(payload=st.binary(max_size=200), key=keys)
def test_bytes_raise_only_decode_errors(decoder: Format, payload: bytes, key: bytes | None) -> None:
    """Any bytes are samples or a DecodeError to any decoder, which a content type may have named wrongly."""
    check(decoder, payload, key)


@given(st.sampled_from([JSON, COLUMNAR, ARROW]), st.data())
def test_flipped_bytes_raise_only_decode_errors(decoder: Format, data: st.DataObject) -> None:
    """Bytes of a valid message changed or cut are samples or a DecodeError."""
    valid = {
        "json": json.dumps([sample, sample]).encode(),
        "columnar": json.dumps(columns).encode(),
        "arrow": arrow_message(series("m")),
    }[decoder.name]
    changed = bytearray(valid)
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(valid) - 1), st.integers(0, 255)), max_size=4)):
        changed[at] = byte
    check(decoder, bytes(changed[: data.draw(st.integers(0, len(valid)))] or changed))


@pytest.mark.parametrize("index", [HUGE, -HUGE, 2**63])
def test_an_index_beyond_int64_is_outside(index: int) -> None:
    """An index that no column can hold names no series."""
    assert reason(COLUMNAR, json.dumps({**columns, "index": [0, index]}).encode()) == "fields"


@pytest.mark.parametrize("digits", [400, 5000])
def test_numbers_beyond_floats_are_refused(digits: int) -> None:
    """Values and times that no float can hold are refused by every JSON format."""
    number = b"1" * digits
    for field in (b'"value":[1,%s],"ts":5', b'"value":[1,2],"ts":[1,%s]', b'"value":[1,2],"ts":%s'):
        assert reason(COLUMNAR, b'{"series":[{"name":"a"},{"name":"b"}],' + field % number + b"}")
    for field in (b'"value":%s,"ts":5', b'"value":1,"ts":%s'):
        assert reason(JSON, b'{"name":"a",' + field % number + b"}")


def test_bottomless_nesting_is_refused_everywhere() -> None:
    """Nesting beyond any sense is refused in every field that takes JSON."""
    assert reason(ARROW, arrow_bytes(b'{"x":' + NESTED, 1)) == "labels"
    for start in (b'{"series":', b'{"series":[],"value":', b'{"series":[{"name":"a","labels":', b'{"x":'):
        assert reason(COLUMNAR, start + NESTED)
    for start in (b"", b'{"name":', b'{"name":"a","ts":1,"value":1,"labels":', b'{"x":'):
        assert reason(JSON, start + NESTED)


@pytest.mark.parametrize("text", ["1969-12-01", "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00+01:00", "0001-01-01"])
def test_dates_before_1970_are_refused(text: str) -> None:
    """Text is held to the same beginning of time as numbers are."""
    with pytest.raises(DecodeError, match="before 1970") as caught:
        to_millis(text)
    assert caught.value.reason == "timestamp"
    assert reason(JSON, json.dumps({**sample, "ts": text}).encode()) == "timestamp"
    assert reason(COLUMNAR, json.dumps({**columns, "ts": [START, text]}).encode()) == "timestamp"


def test_1970_itself_is_accepted() -> None:
    """The first moment is a time."""
    assert to_millis("1970-01-01") == 0
    assert list(ARROW.decode(arrow_message(series("m"), 0), Context(catalog(), None, START)).ts) == [0]


@pytest.mark.parametrize("ts", [-1, -(2**63)])
def test_negative_times_in_columns_are_refused(ts: int) -> None:
    """Columns are held to it, too."""
    assert reason(ARROW, arrow_message(series("m"), ts)) == "timestamp"
    assert reason(COLUMNAR, json.dumps({**columns, "ts": [START, ts]}).encode()) == "timestamp"
    assert reason(COLUMNAR, json.dumps({**columns, "ts": ts}).encode()) == "timestamp"


def test_arrow_keeps_to_the_label_limits() -> None:
    """`ingest.max_labels` and `ingest.max_label_bytes` hold for Arrow as for JSON."""
    many = series("m", **{f"l{number}": "x" for number in range(5)})
    long = series("m", path="x" * 100)
    for one, settings, named in (
        (many, {"max_labels": 4}, "max_labels"),
        (long, {"max_label_bytes": 64}, "label_bytes"),
    ):
        with pytest.raises(DecodeError, match=named) as caught:
            arrow.decode(arrow_message(one), Context(catalog(**settings), None, START))
        assert caught.value.reason == "labels"


def test_arrow_buckets_without_bound_are_counters() -> None:
    """What `le` is missing from is read as in the other formats."""
    bucket = msgspec.structs.replace(series("http_seconds_bucket"), kind=Kind.BUCKET)
    known = catalog()
    arrow.decode(arrow_message(bucket), Context(known, None, START))
    samples_json.decode(
        json.dumps({**sample, "name": "x_bucket", "kind": "bucket"}).encode(), Context(known, None, START)
    )
    assert [json.loads(canonical)["kind"] for canonical in known.series] == ["counter", "counter"]


def test_arrow_series_without_a_name_are_refused() -> None:
    """An empty name is no name in Arrow either."""
    assert reason(ARROW, arrow_message(series(""))) == "labels"


def test_arrow_series_whose_service_the_settings_change_are_refused() -> None:
    """Rows stay with the series that was named: where canonical labels differ from those sent, nothing is taken."""
    with pytest.raises(DecodeError, match='"service":"unknown"'):
        arrow.decode(arrow_message(series("m", service="")), Context(catalog(), None, START))


def test_null_messages_are_told_from_empty_ones() -> None:
    """Dead letters hold bytes: that the original was null is a header, which a second failure writes anew."""
    empty = message(0, b"")
    error = DecodeError("an empty message", reason="empty")
    letter = dead_letter(replace(empty, value=None), error, stage="ingest")
    assert letter.value == b""
    assert dict(letter.headers)["duri.error.null"] == b"true"
    for value in (b"", b"x"):
        again = replace(empty, value=value, headers=letter.headers)
        assert "duri.error.null" not in dict(dead_letter(again, error, stage="ingest").headers)


def test_refused_pieces_do_not_multiply_a_message() -> None:
    """Each refused point repeats what it stood in: where that is large they are one letter, the message itself."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="about").value.string_value = "x" * 3000
    metric = resource.scope_metrics.add().metrics.add(name="queue")
    for _ in range(500):
        metric.gauge.data_points.add(time_unix_nano=1, as_double=1.0)
    metric.gauge.data_points.add(time_unix_nano=START * 1_000_000, as_double=1.0)
    payload = request.SerializeToString()
    opened = open_message(payload, (), "otlp_protobuf", Limits(IngestSettings()))
    tracemalloc.start()
    with pytest.raises(DecodeError, match="pieces of the message cannot be read") as refused:
        decode_message(opened, Context(catalog(), None, START))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.value.reason == "timestamp"
    assert peak < 30 * len(payload) + 262_144


def test_too_many_empty_series_are_refused_before_they_are_walked() -> None:
    """A few bytes each, a hundred times what they cost: the count is looked at first."""
    request = WriteRequest()
    for _ in range(IngestSettings().max_series_per_message + 1):
        request.timeseries.add()
    payload = bytes(cramjam.snappy.compress_raw(request.SerializeToString()))
    with pytest.raises(DecodeError) as refused:
        by_name("remote_write").decode(payload, Context(catalog(), None, START))
    assert refused.value.reason == "series"


def test_a_service_from_the_key_keeps_to_the_label_limits() -> None:
    """In bytes, as the other labels."""
    payload = b'{"name":"up","ts":1767225600000,"value":1}'
    with pytest.raises(DecodeError, match="bytes long") as refused:
        by_name("json").decode(payload, Context(catalog(), "é".encode() * 4000, START))
    assert refused.value.reason == "labels"
