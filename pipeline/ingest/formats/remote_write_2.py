"""Prometheus remote write 2.0: a protobuf `Request` with a table of symbols, in a snappy block.

As 1.0 (see `pipeline.ingest.formats.remote_write`), and each series says its kind, its unit, and since when it counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import cramjam
from google.protobuf.message import DecodeError as ProtobufError
from google.protobuf.message import Message

from pipeline.errors import DecodeError
from pipeline.ingest.formats.write_requests import Identity, SeriesReader, labels_of, opening, unpack
from pipeline.ingest.protobuf import remote_write_pb2 as wire
from pipeline.ingest.rows import CUMULATIVE
from pipeline.ingest.scan.known import REMOTE_WRITE_2, number_of
from pipeline.series import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.ingest.limits import Limits
    from pipeline.ingest.points import Context, Points
    from pipeline.ingest.protobuf.remote_write_pb2 import Histogram, Sample, TimeSeries2

CONTENT_TYPES = ("application/x-protobuf;proto=io.prometheus.write.v2.Request",)

# The first symbol is the empty text.
_START = b"\x22\x00"
_COUNTED = ("_count", "_sum")
_NO_SYMBOL = 2**32 - 1

_M = TypeVar("_M", bound=Message)


def sniff(payload: bytes) -> bool:
    """A snappy block that opens with the empty symbol, or such a request unfolded already."""
    return is_request(payload) or is_request(opening(payload))


def is_request(start: bytes) -> bool:
    """Whether these first bytes are of a Request."""
    return start.startswith(_START)


def unfolded(payload: bytes, encoding: str, limits: Limits) -> bytes:
    """The request's own bytes, once a snappy block around them is unfolded. Raises DecodeError."""
    return unpack(payload, encoding, limits, is_plain=is_request(payload))


def decode(payload: bytes, context: Context) -> Points:
    """Samples of a request. Raises DecodeError."""
    symbols, pieces = _in_pieces(payload, context)
    reader = SeriesReader(context)
    for number, piece in enumerate(pieces):
        reader.rows.check_series()
        series = _parsed(wire.TimeSeries2, piece)
        position = f"timeseries[{number}]"
        alone = _Alone(series, symbols)
        try:
            identity = identity_of(series, symbols)
            index = reader.take(identity, series, position, alone)
        except DecodeError as error:
            reader.rows.refuse(alone(series.samples, series.histograms), position, error)
            continue
        if index >= 0 and context.catalog.is_told(identity.labels, context.key):
            _learn(context, series, symbols, index * 2 + (identity.kind_or_told in CUMULATIVE))
    return reader.rows.points()


def _in_pieces(payload: bytes, context: Context) -> tuple[Sequence[str], Sequence[bytes]]:
    """Symbols, and the bytes of each series: all series parsed at once would take many times the request's memory.

    So would all of these as objects of Python: they stay in the message, which makes each when it is asked for.
    """
    limits = context.catalog.limits
    request = _parsed(wire.RequestInPieces, unfolded(payload, context.encoding, limits))
    limits.check_series(len(request.timeseries))
    return request.symbols, request.timeseries


def _parsed(message: type[_M], payload: bytes) -> _M:
    """Raises DecodeError (reason `syntax`) where these bytes are no such message."""
    try:
        return message.FromString(payload)
    except (ProtobufError, UnicodeDecodeError) as error:
        raise DecodeError(f"not a remote-write 2.0 request: {error}", reason="syntax") from error


def _learn(context: Context, series: TimeSeries2, symbols: Sequence[str], value: int) -> None:
    """Let the scanner know this series by the symbols that the request has for it."""
    metadata = series.metadata
    if metadata.type not in wire.MetricType.values():
        return
    labels = b"".join(_spelled(symbols[ref]) for ref in series.labels_refs)
    unit = _spelled(symbols[metadata.unit_ref]) if metadata.unit_ref else b""
    part_of = (metadata.type * 2 + bool(unit)) * 2 + bool(context.key)
    context.catalog.known.learn(number_of(REMOTE_WRITE_2, part_of), labels, unit, value)


def _spelled(symbol: str) -> bytes:
    encoded = symbol.encode()
    return len(encoded).to_bytes(4, "little") + encoded


def identity_of(series: TimeSeries2, symbols: Sequence[str]) -> Identity:
    """Name, labels, kind and unit. Raises DecodeError (reason `fields`, or `labels`)."""
    refs = series.labels_refs
    if len(refs) % 2:
        raise DecodeError(f"{len(refs)} label references are not names with values", reason="fields")
    texts = [_symbol(symbols, ref) for ref in refs]
    name, labels = labels_of(zip(texts[::2], texts[1::2], strict=True))
    unit = _symbol(symbols, series.metadata.unit_ref) if series.metadata.unit_ref else None
    return Identity(name, labels, _kind(series.metadata.type, name), unit)


def _symbol(symbols: Sequence[str], ref: int) -> str:
    if ref >= len(symbols):
        raise DecodeError(f"symbol {ref} is not among the {len(symbols)} of the request", reason="fields")
    return symbols[ref]


def _kind(metric_type: int, name: str) -> Kind | None:
    if metric_type == wire.UNSPECIFIED:
        return None
    if metric_type == wire.COUNTER:
        return Kind.COUNTER
    if metric_type in (wire.HISTOGRAM, wire.SUMMARY):
        if metric_type == wire.HISTOGRAM and name.endswith("_bucket"):
            return Kind.BUCKET
        return Kind.COUNTER if name.endswith(_COUNTED) else Kind.GAUGE
    return Kind.GAUGE


class _Alone:
    """Makes a request of a single series, with the symbols that it needs."""

    def __init__(self, series: TimeSeries2, symbols: Sequence[str]) -> None:
        self._series = series
        self._symbols = symbols

    def __call__(self, samples: Sequence[Sample], histograms: Sequence[Histogram]) -> bytes:
        whole = self._series
        table = {"": 0}
        refs = [self._ref(table, ref) for ref in whole.labels_refs]
        metadata = wire.Metadata2(type=whole.metadata.type, unit_ref=self._ref(table, whole.metadata.unit_ref))
        one = wire.TimeSeries2(
            labels_refs=refs,
            samples=samples,
            histograms=histograms,
            metadata=metadata,
            created_timestamp=whole.created_timestamp,
        )
        request = wire.Request(symbols=table, timeseries=[one])
        return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))

    def _ref(self, table: dict[str, int], ref: int) -> int:
        """Place of the symbol in the new table; one that is missing stays missing."""
        return table.setdefault(self._symbols[ref], len(table)) if ref < len(self._symbols) else _NO_SYMBOL
