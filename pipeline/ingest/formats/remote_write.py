"""Prometheus remote write 1.0: a protobuf `WriteRequest` in a snappy block.

This is the reference decoder, on generated code; `pipeline.ingest.scan.remote_write` reads series that it has met.
Kind and unit are told by the name. Exemplars are skipped, and metadata, which comes in messages of its own. Native
histograms become `_count`, `_sum` and `_bucket` series (see `buckets`). The staleness marker passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cramjam
from google.protobuf.message import DecodeError as ProtobufError

from pipeline.errors import DecodeError
from pipeline.ingest.formats.split import elements, framed
from pipeline.ingest.formats.write_requests import (
    ZSTD_START,
    Identity,
    SeriesReader,
    labels_of,
    opening,
    unpack,
)
from pipeline.ingest.protobuf.remote_write_pb2 import TimeSeries, WriteRequest
from pipeline.ingest.scan.known import REMOTE_WRITE, number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.ingest.limits import Limits
    from pipeline.ingest.points import Context, Points
    from pipeline.ingest.protobuf.remote_write_pb2 import Histogram, Sample

CONTENT_TYPES = ("application/x-protobuf;proto=prometheus.WriteRequest",)

_SERIES, _METADATA = b"\x0a", b"\x1a"


def sniff(payload: bytes) -> bool:
    """A snappy block that opens with a series or with metadata, or such a request unfolded already; or zstd."""
    return is_request(payload) or is_request(opening(payload)) or payload.startswith(ZSTD_START)


def is_request(start: bytes) -> bool:
    """Whether these first bytes are of a WriteRequest: a series, a label in it, a name in that; or metadata."""
    if start[:1] == _METADATA:
        return start[2:3] in (b"\x08", b"\x12")
    at = 0
    for _ in range(2):
        if start[at : at + 1] != _SERIES:
            return False
        at += 1
        while at < len(start) and start[at] & 0x80:
            at += 1
        at += 1
    # A request of OTLP is one level deeper: there another length follows.
    return start[at : at + 1] == _SERIES and (start[at + 2 : at + 3].isalpha() or start[at + 2 : at + 3] == b"_")


def unfolded(payload: bytes, encoding: str, limits: Limits) -> bytes:
    """The request's own bytes, once a snappy block around them is unfolded. Raises DecodeError."""
    return unpack(payload, encoding, limits, is_plain=is_request(payload))


def decode(payload: bytes, context: Context) -> Points:
    """Samples of a request. Raises DecodeError."""
    payload = unfolded(payload, context.encoding, context.catalog.limits)
    each = _timeseries(payload)
    context.catalog.limits.check_series(len(each))
    reader = SeriesReader(context)
    for number, one in enumerate(each):
        reader.rows.check_series()
        position = f"timeseries[{number}]"
        if isinstance(one, _Unread):
            reader.rows.refuse(_packed(framed(one.element, 1)), position, one.error)
            continue
        alone = _Alone(one)
        try:
            identity = Identity(*labels_of((label.name, label.value) for label in one.labels))
            index = reader.take(identity, one, position, alone)
        except DecodeError as error:
            reader.rows.refuse(alone(one.samples, one.histograms), position, error)
            continue
        if index >= 0 and context.catalog.is_told(identity.labels, context.key):
            labels = TimeSeries(labels=one.labels).SerializeToString()
            context.catalog.known.learn(number_of(REMOTE_WRITE, bool(context.key)), labels, b"", index)
    return reader.rows.points()


class _Unread(NamedTuple):
    """A series of a request that is none."""

    element: bytes
    error: DecodeError


def _timeseries(payload: bytes) -> Sequence[TimeSeries | _Unread]:
    """The series of a request. Raises DecodeError where not even some of them can be read."""
    try:
        return WriteRequest.FromString(payload).timeseries
    except (ProtobufError, UnicodeDecodeError) as error:
        each = elements(payload, 1)
        if each is None:
            raise DecodeError(f"not a remote-write request: {error}", reason="syntax") from error
    return [_series(one) for one in each]


def _series(element: bytes) -> TimeSeries | _Unread:
    try:
        return TimeSeries.FromString(element)
    except (ProtobufError, UnicodeDecodeError) as error:
        return _Unread(element, DecodeError(f"not a series: {error}", reason="syntax"))


def _packed(request: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(request))


class _Alone:
    """Makes a request of a single series."""

    def __init__(self, series: TimeSeries) -> None:
        self._series = series

    def __call__(self, samples: Sequence[Sample], histograms: Sequence[Histogram]) -> bytes:
        one = TimeSeries(labels=self._series.labels, samples=samples, histograms=histograms)
        return _packed(WriteRequest(timeseries=[one]).SerializeToString())
