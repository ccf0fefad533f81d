"""Prometheus remote write 1.0: a protobuf `WriteRequest` in a snappy block.

This is the reference decoder, on generated code; series that it has met are read by `protobuf_scanner` from then on.
Kind and unit are told by the name. Exemplars are skipped, and metadata, which comes in messages of its own. Native
histograms become `_count`, `_sum` and `_bucket` series (see `pipeline.ingest.buckets`). The staleness marker passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cramjam
from google.protobuf.message import DecodeError as ProtobufError

from pipeline.errors import DecodeError
from pipeline.ingest.protobuf.remote_write_pb2 import TimeSeries, WriteRequest
from pipeline.ingest.write_requests import (
    ZSTD_START,
    Identity,
    SeriesReader,
    labels_of,
    opening,
    unpack,
    victoria_metrics,
)

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


def unfolded(payload: bytes, limits: Limits) -> bytes:
    """The request's own bytes, once a snappy block around them is unfolded. Raises DecodeError."""
    return unpack(payload, limits, is_plain=is_request(payload))


def decode(payload: bytes, context: Context) -> Points:
    """Samples of a request. Raises DecodeError."""
    if context.encoding == "zstd":
        raise victoria_metrics()
    try:
        request = WriteRequest.FromString(unfolded(payload, context.catalog.limits))
    except (ProtobufError, UnicodeDecodeError) as error:
        raise DecodeError(f"not a remote-write request: {error}", reason="syntax") from error
    reader = SeriesReader(context)
    for number, series in enumerate(request.timeseries):
        position = f"timeseries[{number}]"
        alone = _Alone(series)
        try:
            reader.take(_identity(series), series, position, alone)
        except DecodeError as error:
            reader.rows.refuse(alone(series.samples, series.histograms), position, error)
    return reader.rows.points()


def _identity(series: TimeSeries) -> Identity:
    return Identity(*labels_of((label.name, label.value) for label in series.labels))


class _Alone:
    """Makes a request of a single series."""

    def __init__(self, series: TimeSeries) -> None:
        self._series = series

    def __call__(self, samples: Sequence[Sample], histograms: Sequence[Histogram]) -> bytes:
        one = TimeSeries(labels=self._series.labels, samples=samples, histograms=histograms)
        return bytes(cramjam.snappy.compress_raw(WriteRequest(timeseries=[one]).SerializeToString()))
