from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import cramjam
import pytest
from google.protobuf.message import DecodeError as ProtobufError
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DecodeError
from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.formats import remote_write, remote_write_2
from pipeline.ingest.points import Context
from pipeline.ingest.protobuf import remote_write_pb2 as wire
from pipeline.ingest.scan.scanner import Form
from pipeline.ingest.stage import IngestStage
from pipeline.series import STALE, parse_canonical
from pipeline.settings import IngestSettings
from tests.builders import START, message
from tests.ingest.any_messages import MESSAGES
from tests.ingest.promises import check_changed
from tests.ingest.test_ingest_stage import dead

if TYPE_CHECKING:
    from pipeline.ingest.points import Points

MINUTE = 60_000
LABELS = {"__name__": "http_requests_total", "job": "shop", "code": "200"}


def context(**settings: object) -> Context:
    return Context(SeriesCatalog(IngestSettings(**settings), 4), None, START)


def packed(request: Any) -> bytes:
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def one(labels: dict[str, str] | None = None, **fields: Any) -> wire.TimeSeries:
    pairs = [wire.Label(name=name, value=value) for name, value in (labels or LABELS).items()]
    return wire.TimeSeries(labels=pairs, **fields)


def first(*series: wire.TimeSeries) -> bytes:
    """A request of version 1.0."""
    return packed(wire.WriteRequest(timeseries=series))


def second(labels: dict[str, str] | None = None, kind: int = 0, unit: str = "", **fields: Any) -> bytes:
    """A request of version 2.0 with one series."""
    table: dict[str, int] = {"": 0}
    refs = [table.setdefault(text, len(table)) for pair in (labels or LABELS).items() for text in pair]
    metadata = wire.Metadata2(type=kind, unit_ref=table.setdefault(unit, len(table)))
    series = wire.TimeSeries2(labels_refs=refs, metadata=metadata, **fields)
    return packed(wire.Request(symbols=table, timeseries=[series]))


def sample(value: float = 1.0, ts: int = START, **fields: Any) -> wire.Sample:
    return wire.Sample(value=value, timestamp=ts, **fields)


def rows(points: Points, known: Context) -> list[tuple[str, str, int, float]]:
    """Name with `le`, kind, time and value."""
    found = []
    for index, ts, value in zip(points.series, points.ts, points.value, strict=True):
        series = parse_canonical(known.catalog.series[index])
        found.append((" ".join([series.name, *filter(None, [series.labels.get("le")])]), series.kind.value, ts, value))
    return found


def decoded(payload: bytes, decoder: Any = remote_write) -> list[tuple[str, str, int, float]]:
    known = context()
    points = decoder.decode(payload, known)
    assert not points.refused
    return rows(points, known)


def test_first_version_tells_kind_by_name() -> None:
    """1.0 says name and labels only; many samples of a series may come at once."""
    assert decoded(first(one(samples=[sample(1.0, START - 5), sample(2.0)]))) == [
        ("http_requests_total", "counter", START - 5, 1.0),
        ("http_requests_total", "counter", START, 2.0),
    ]


def test_labels_are_kept_and_empty_ones_are_none() -> None:
    """The name is taken out, an empty value is no label, the service is named by `job`."""
    known = context()
    [index] = remote_write.decode(first(one({**LABELS, "empty": ""}, samples=[sample()])), known).series
    series = parse_canonical(known.catalog.series[index])
    assert (series.name, series.labels) == ("http_requests_total", {"job": "shop", "code": "200", "service": "shop"})


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("queue_total", wire.GAUGE, "gauge"),
        ("requests", wire.COUNTER, "counter"),
        ("x_bucket", wire.HISTOGRAM, "bucket"),
        ("x_count", wire.HISTOGRAM, "counter"),
        ("x", wire.SUMMARY, "gauge"),
        ("x_sum", wire.SUMMARY, "counter"),
        ("x_total", wire.UNSPECIFIED, "counter"),
    ],
)
def test_second_version_says_kind_and_unit(name: str, kind: int, expected: str) -> None:
    """2.0's metadata counts more than the name."""
    known = context()
    payload = second({"__name__": name, "job": "a", "le": "1"}, kind, "seconds", samples=[sample()])
    [index] = remote_write_2.decode(payload, known).series
    series = parse_canonical(known.catalog.series[index])
    assert (series.kind, series.unit) == (expected, "seconds")


def test_created_timestamp_is_a_zero() -> None:
    """A counter that began just before its sample was 0 then."""
    for fields in (
        {"created_timestamp": START - MINUTE, "samples": [sample(7.0)]},
        {"samples": [sample(7.0, start_timestamp=START - MINUTE)]},
    ):
        found = decoded(second(**fields), remote_write_2)
        assert [(ts, value) for _, _, ts, value in found] == [(START - MINUTE, 0.0), (START, 7.0)]


def test_staleness_markers_pass_bit_by_bit() -> None:
    """The one NaN that ends a series is not any other NaN."""
    for payload, decoder in (
        (first(one(samples=[sample(STALE)])), remote_write),
        (second(samples=[sample(STALE)]), remote_write_2),
    ):
        [(_, _, _, value)] = decoded(payload, decoder)
        assert struct.pack("<d", value) == struct.pack("<d", STALE)


NATIVE = wire.Histogram(
    count_int=7,
    sum=18.4,
    schema=0,
    zero_threshold=0.001,
    zero_count_int=1,
    positive_spans=[wire.BucketSpan(offset=0, length=2), wire.BucketSpan(offset=1, length=1)],
    positive_deltas=[1, 1, 1],
    timestamp=START,
)
BUCKETS = [
    ("m_count", "counter", 7.0),
    ("m_sum", "counter", 18.4),
    ("m_bucket 0.001", "bucket", 1.0),
    ("m_bucket 0.5", "bucket", 1.0),
    ("m_bucket 1", "bucket", 2.0),
    ("m_bucket 2", "bucket", 4.0),
    ("m_bucket 4", "bucket", 4.0),
    ("m_bucket 8", "bucket", 7.0),
    ("m_bucket +Inf", "bucket", 7.0),
]


def test_native_histograms_become_buckets() -> None:
    """Spans and deltas are unfolded; the bucket of index 0 ends at 1 (specification of native histograms)."""
    series = {"__name__": "m", "job": "a"}
    for payload, decoder in (
        (first(one(series, histograms=[NATIVE])), remote_write),
        (second(series, histograms=[NATIVE]), remote_write_2),
    ):
        assert [(name, kind, value) for name, kind, _, value in decoded(payload, decoder)] == BUCKETS


@pytest.mark.parametrize("offset", [-(2**31), 2**31 - 1])
@pytest.mark.parametrize("schema", [-4, 0, 8])
def test_offsets_beyond_all_floats_cost_nothing(offset: int, schema: int) -> None:
    """A span may begin, or follow, as far away as it likes: what floats cannot tell apart is one bound."""
    histogram = wire.Histogram(
        count_int=2,
        schema=schema,
        positive_spans=[wire.BucketSpan(offset=offset, length=1), wire.BucketSpan(offset=offset, length=1)],
        positive_deltas=[1, 0],
        timestamp=START,
    )
    series = {"__name__": "m", "job": "a"}
    for payload, decoder in (
        (first(one(series, histograms=[histogram])), remote_write),
        (second(series, histograms=[histogram]), remote_write_2),
    ):
        found = {name: value for name, _, _, value in decoded(payload, decoder)}
        assert found.pop("m_bucket +Inf") == 2.0
        assert set(found) <= {"m_count", "m_sum", "m_bucket 0"}
        assert found.get("m_bucket 0") == (2.0 if offset < 0 else None)


def test_float_histograms_count_without_deltas() -> None:
    """Counts of a float histogram are absolute."""
    histogram = wire.Histogram(
        count_float=2.5,
        schema=0,
        positive_spans=[wire.BucketSpan(offset=1, length=2)],
        positive_counts=[1.5, 1.0],
        timestamp=START,
    )
    found = {name: value for name, _, _, value in decoded(first(one({"__name__": "m"}, histograms=[histogram])))}
    assert found == {
        "m_count": 2.5,
        "m_sum": 0.0,
        "m_bucket 1": 0.0,
        "m_bucket 2": 1.5,
        "m_bucket 4": 2.5,
        "m_bucket +Inf": 2.5,
    }


def test_custom_bounds_stay_as_they_are() -> None:
    """Schema -53 is a classic histogram in native form."""
    histogram = wire.Histogram(
        count_int=6,
        schema=-53,
        custom_values=[0.1, 0.5],
        positive_spans=[wire.BucketSpan(offset=0, length=3)],
        positive_deltas=[1, 1, 1],
        timestamp=START,
    )
    found = {name: value for name, _, _, value in decoded(first(one({"__name__": "m"}, histograms=[histogram])))}
    assert found == {"m_count": 6.0, "m_sum": 0.0, "m_bucket 0.1": 1.0, "m_bucket 0.5": 3.0, "m_bucket +Inf": 6.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 9},
        {"positive_deltas": [1]},
        {"positive_spans": [wire.BucketSpan(offset=0, length=2**32 - 1)]},
        {"schema": -53, "custom_values": [1.0], "positive_spans": [wire.BucketSpan(offset=5, length=3)]},
        {"timestamp": 0},
        {"count_int": 4},
        {"count_int": 2},
        {"count_int": 2, "sum": math.nan},
        {"count_int": 4, "schema": -53, "custom_values": [1.0, 2.0]},
    ],
)
def test_impossible_histograms_are_refused_alone(changes: dict[str, Any]) -> None:
    """Others of the request pass; the piece is a request again."""
    fields = {
        "count_int": 3,
        "schema": 0,
        "positive_spans": [wire.BucketSpan(length=3)],
        "positive_deltas": [1, 0, 0],
        "timestamp": START,
    }
    histogram = wire.Histogram(**{**fields, **changes})
    points = remote_write.decode(
        first(one(samples=[sample()]), one({"__name__": "m"}, histograms=[histogram])), context()
    )
    assert list(points.value) == [1.0]
    [piece] = points.refused
    assert piece.position == "timeseries[1].histograms[0]"
    assert [again.error.reason for again in remote_write.decode(piece.payload, context()).refused] == [
        piece.error.reason
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"count_int": 4, "sum": math.nan, "positive_deltas": [3]},
        {"count_float": 4.0, "positive_counts": [3.0]},
    ],
)
def test_observations_of_nan_are_in_no_bucket(fields: dict[str, Any]) -> None:
    """Prometheus' own rule: such a histogram counts more than its buckets hold, and floats need not add up."""
    histogram = wire.Histogram(positive_spans=[wire.BucketSpan(length=1)], timestamp=START, **fields)
    found = {name: value for name, _, _, value in decoded(first(one({"__name__": "m"}, histograms=[histogram])))}
    assert (found["m_count"], found["m_bucket 1"], found["m_bucket +Inf"]) == (4.0, 3.0, 4.0)


def test_exemplars_and_metadata_are_skipped() -> None:
    """Neither is a sample, and a request of metadata alone is no mistake."""
    exemplar = wire.Exemplar(labels=[wire.Label(name="trace_id", value="x")], value=1.0, timestamp=START)
    assert len(decoded(first(one(samples=[sample()], exemplars=[exemplar])))) == 1
    metadata = wire.MetricMetadata(type=wire.COUNTER, metric_family_name="http_requests_total", help="Requests.")
    payload = packed(wire.WriteRequest(metadata=[metadata]))
    assert remote_write.sniff(payload)
    assert decoded(payload) == []


BAD = [
    ("no name", {"job": "a"}, sample(), "labels"),
    ("too long labels", {"__name__": "m", "x": "y" * 5000}, sample(), "labels"),
    ("no time", LABELS, sample(ts=0), "timestamp"),
    ("a negative time", LABELS, sample(ts=-1), "timestamp"),
    ("far future", LABELS, sample(ts=START + 2 * 3_600_000), "future"),
    ("far past", LABELS, sample(ts=START - 16_000 * 86_400_000), "past"),
]


@pytest.mark.parametrize(("what", "labels", "bad", "reason"), BAD, ids=[case[0] for case in BAD])
def test_bad_pieces_are_refused_alone(what: str, labels: dict[str, str], bad: wire.Sample, reason: str) -> None:
    """A bad series or sample is a request of its own, which is refused for the same reason again."""
    for payload, decoder in (
        (first(one(labels, samples=[bad])), remote_write),
        (second(labels, samples=[bad]), remote_write_2),
    ):
        [piece] = decoder.decode(payload, context()).refused
        assert piece.error.reason == reason, what
        assert piece.position.startswith("timeseries[0]")
        assert decoder.sniff(piece.payload)
        assert [again.error.reason for again in decoder.decode(piece.payload, context()).refused] == [reason]


def test_labels_that_come_twice_are_refused() -> None:
    """Which of two values counts, nobody can say."""
    double = wire.TimeSeries(
        labels=[wire.Label(name="a", value="1"), wire.Label(name="a", value="2")], samples=[sample()]
    )
    assert [piece.error.reason for piece in remote_write.decode(first(double), context()).refused] == ["labels"]


@pytest.mark.parametrize("refs", [[1], [1, 99], [0, 0]])
def test_wrong_references_are_refused_alone(refs: list[int]) -> None:
    """A reference without its partner or its symbol makes no series, also not in the piece that is given back."""
    request = wire.Request(
        symbols=["", "__name__", "m"], timeseries=[wire.TimeSeries2(labels_refs=refs, samples=[sample()])]
    )
    [piece] = remote_write_2.decode(packed(request), context()).refused
    assert [again.error.reason for again in remote_write_2.decode(piece.payload, context()).refused] == [
        piece.error.reason
    ]


@pytest.mark.parametrize("encoding", [None, "snappy"])
def test_versions_are_told_apart_without_a_content_type(encoding: str | None) -> None:
    """Both versions pass the stage, in a snappy block or unfolded because a header says so."""
    headers = {"content_encoding": encoding} if encoding else {}
    stage = IngestStage(IngestSettings(), source="duri.metrics/0", samples_partitions=1)
    outputs = stage.step(
        [message(0, first(one(samples=[sample()])), **headers), message(1, second(samples=[sample()]), **headers)]
    )
    assert not dead(outputs)
    assert stage.statistics()["samples_total"] == 2


@pytest.mark.parametrize("headers", [{}, {"content_encoding": "zstd"}])
def test_victoria_metrics_is_told_what_to_do(headers: dict[str, str]) -> None:
    """vmagent's own protocol is refused with the option that turns it off."""
    body = bytes(cramjam.zstd.compress(wire.WriteRequest(timeseries=[one(samples=[sample()])]).SerializeToString()))
    stage = IngestStage(IngestSettings(), source="duri.metrics/0", samples_partitions=1)
    [letter] = dead(stage.step([message(0, body, **headers)]))
    assert b"-remoteWrite.forcePromProto" in dict(letter.headers)["duri.error.message"]


def test_blocks_that_unfold_too_far_are_refused() -> None:
    """A block says how far it unfolds; one that says too much, or cannot, takes no memory."""
    bomb = bytes(cramjam.snappy.compress_raw(b"\x0a" * 100_000))
    with pytest.raises(DecodeError, match="max_decompressed_bytes") as caught:
        remote_write.decode(bomb, context(max_decompressed_bytes=50_000))
    assert caught.value.reason == "size"
    with pytest.raises(DecodeError, match="unfolds to") as caught:
        remote_write.decode(b"\xff\xff\xff\xff\x0f\x00", context())
    assert caught.value.reason == "syntax"


@given(st.data())
def test_mutated_requests_raise_only_decode_errors(data: st.DataObject) -> None:
    """Bytes changed or cut give samples, refused pieces, or a DecodeError, in both versions."""
    for decoder, valid in (
        (remote_write, first(one(samples=[sample()]), one({"__name__": "m"}, histograms=[NATIVE]))),
        (remote_write_2, second(samples=[sample()], histograms=[NATIVE], created_timestamp=START - 5)),
    ):
        request = bytes(cramjam.snappy.decompress_raw(valid))
        check_changed(data, decoder, request, lambda changed: bytes(cramjam.snappy.compress_raw(changed)))


def in_pieces(payload: bytes) -> wire.Request:
    """The request, put together of what the decoder reads: its symbols, and series parsed by themselves."""
    pieces = wire.RequestInPieces.FromString(payload)
    series = [wire.TimeSeries2.FromString(one) for one in pieces.timeseries]
    return wire.Request(symbols=pieces.symbols, timeseries=series)


@given(st.one_of(MESSAGES[Form.REMOTE_WRITE_2], st.binary(max_size=40)), st.data())
def test_a_request_in_pieces_is_the_whole_one(payload: bytes, data: st.DataObject) -> None:
    """Of arbitrary messages, a byte changed: both ways give the same series, and refuse the same messages."""
    changed = bytearray(payload)
    if changed and data.draw(st.booleans()):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        whole = wire.Request.FromString(bytes(changed))
    except ProtobufError:
        with pytest.raises(ProtobufError):
            in_pieces(bytes(changed))
        return
    whole.DiscardUnknownFields()
    found = in_pieces(bytes(changed))
    found.DiscardUnknownFields()
    assert found.SerializeToString(deterministic=True) == whole.SerializeToString(deterministic=True)


def test_a_request_with_a_broken_series_is_refused_whole() -> None:
    """Which symbols that series would need nobody can say, so none passes without it."""
    good = wire.TimeSeries2(labels_refs=[1, 2], samples=[sample()]).SerializeToString()
    pieces = wire.RequestInPieces(symbols=["", "__name__", "m"], timeseries=[good, b"\x12\x7f"])
    with pytest.raises(DecodeError) as caught:
        remote_write_2.decode(packed(pieces), context())
    assert caught.value.reason == "syntax"


def test_a_series_of_invalid_utf8_is_refused_alone() -> None:
    """Nobody can read its labels; those of the other series can be, and by itself it is refused again."""
    good, bad = one(samples=[sample()]), one({"__name__": "x", "a": "zz"}, samples=[sample()])
    request = wire.WriteRequest(timeseries=[good, bad, good]).SerializeToString().replace(b"zz", b"\xff\xfe")
    points = remote_write.decode(bytes(cramjam.snappy.compress_raw(request)), context())
    assert list(points.value) == [1.0, 1.0]
    [piece] = points.refused
    assert (piece.position, piece.error.reason) == ("timeseries[1]", "syntax")
    assert [again.error.reason for again in remote_write.decode(piece.payload, context()).refused] == ["syntax"]
