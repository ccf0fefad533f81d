"""What both versions of Prometheus remote write share: the snappy block around a request, and the series in it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import cramjam

from pipeline.errors import DecodeError
from pipeline.ingest.formats import native_histograms
from pipeline.ingest.naming import comes_twice
from pipeline.ingest.rows import Column, Named, Rows, ended
from pipeline.ingest.transport import unfold_snappy_block
from pipeline.series import STALE, Kind, kind_of_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.ingest.limits import Limits
    from pipeline.ingest.points import Context
    from pipeline.ingest.protobuf.remote_write_pb2 import Histogram, Sample

NAME_LABEL: Final = "__name__"
ZSTD_START: Final = b"\x28\xb5\x2f\xfd"
_GAUGE_HISTOGRAM: Final = 3
_OPENING: Final = 8
_STALE_BYTES: Final = struct.pack("<d", STALE)


class Identity(NamedTuple):
    """What a series is called, of which kind and unit it is; None where its name tells."""

    name: str
    labels: dict[str, str]
    kind: Kind | None = None
    unit: str | None = None

    @property
    def kind_or_told(self) -> Kind:
        """The kind, by the name where nothing else tells."""
        return self.kind or kind_of_name(self.name)


class Piece(Protocol):
    """Gives a request, ready to send, with this one series and these samples of it only."""

    def __call__(self, samples: Sequence[Sample], histograms: Sequence[Histogram]) -> bytes: ...


def opening(payload: bytes) -> bytes:
    """The first bytes of a snappy block's content, as far as they are there unfolded; nothing where it is none.

    A block is the varint of its unfolded size, then elements, of which the first is a literal.
    """
    at = 0
    while at < min(len(payload), 5) and payload[at] & 0x80:
        at += 1
    tag = at + 1
    if tag >= len(payload) or payload[tag] & 3:
        return b""
    extra = max(0, (payload[tag] >> 2) - 59)
    return payload[tag + 1 + extra : tag + 1 + extra + _OPENING]


def unpack(payload: bytes, encoding: str, limits: Limits, *, is_plain: bool) -> bytes:
    """The request's own bytes; `is_plain` where `content-encoding` has them unfolded already. Raises DecodeError."""
    if encoding == "zstd" or payload.startswith(ZSTD_START):
        raise DecodeError(
            "this is VictoriaMetrics' own remote-write protocol (zstd), which is not read here; start vmagent with "
            "-remoteWrite.forcePromProto so that it speaks Prometheus' (snappy)",
            reason="format",
        )
    if is_plain:
        return payload
    try:
        return unfold_snappy_block(payload, limits)
    except cramjam.DecompressionError as error:
        raise DecodeError(f"not a remote-write request in a snappy block: {error}", reason="syntax") from error


def labels_of(pairs: Iterable[tuple[str, str]]) -> tuple[str, dict[str, str]]:
    """Name and labels. Raises DecodeError (reason `labels`) where a label comes twice."""
    labels: dict[str, str] = {}
    for name, value in pairs:
        if name in labels:
            raise comes_twice(name)
        labels[name] = value
    name = labels.pop(NAME_LABEL, "")
    return name, labels


class SeriesReader:
    """Takes the series of one request."""

    def __init__(self, context: Context) -> None:
        self.rows = Rows(context)
        self._context = context

    def take(self, identity: Identity, series: Any, position: str, alone: Piece) -> int:
        """Samples and histograms of one series, those refused alone that cannot be taken; its index, or -1.

        `series` is a TimeSeries or a TimeSeries2. Raises DecodeError for its labels.
        """
        index = -1
        if series.samples:
            key, (name, labels, kind, unit) = self._context.key, identity
            index = self._context.catalog.place(name, labels, key, kind, unit)
        for number, sample in enumerate(series.samples):
            try:
                self._sample(index, identity.kind_or_told, sample, _start(series, sample))
            except DecodeError as error:
                self.rows.refuse(alone([sample], []), f"{position}.samples[{number}]", error)
        for number, histogram in enumerate(series.histograms):
            try:
                self._histogram(identity, histogram, _start(series, histogram))
            except DecodeError as error:
                self.rows.refuse(alone([], [histogram]), f"{position}.histograms[{number}]", error)
        return index

    def _sample(self, index: int, kind: Kind, sample: Sample, start: int) -> None:
        self.rows.check_time(sample.timestamp)
        self.rows.add_all((index,), sample.timestamp, (sample.value,), self.rows.begun(start, sample.timestamp, kind))

    def _histogram(self, identity: Identity, histogram: Histogram, start: int) -> None:
        self.rows.check_time(histogram.timestamp)
        count, bucket = (Kind.COUNTER, Kind.BUCKET)
        if histogram.reset_hint == _GAUGE_HISTOGRAM:
            count = bucket = Kind.GAUGE
        buckets = native_histograms.cumulative(histogram)
        columns = [
            Column("_count", count, (native_histograms.total(histogram),)),
            Column("_sum", count, (histogram.sum,)),
            Column("_bucket", bucket, buckets.below, "le", buckets.le),
        ]
        if struct.pack("<d", histogram.sum) == _STALE_BYTES:
            columns, start = ended(columns), 0
        named = Named(identity.name, identity.labels, identity.unit)
        self.rows.add_point(named, columns, histogram.timestamp, start)


def _start(series: Any, sample: Sample | Histogram) -> int:
    """When a count began, ms; 0 where nobody says."""
    return sample.start_timestamp or getattr(series, "created_timestamp", 0)
