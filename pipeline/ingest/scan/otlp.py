"""OTLP protobuf: gauges, sums and histograms with bounds; the other kinds of data are left to the decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from pipeline.ingest.scan.known import OTLP_HISTOGRAM, OTLP_METRIC, OTLP_NUMBER, OTLP_SCOPE, find, number_of
from pipeline.ingest.scan.rows import STALE_BITS, add, bits_of, message_at, note, starts_here
from pipeline.ingest.scan.wire import Shape, is_utf8, length, read_fields, varint
from pipeline.ingest.scan.words import load64

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.ingest.scan.known import Arrays
    from pipeline.ingest.scan.rows import Message, Rows

GAUGE, SUM, HISTOGRAM = 0x2A, 0x3A, 0x4A
"""Tags of a metric's data."""
DELTA, CUMULATIVE = 1, 2
CODES = 2048
"""A metric's code is below this."""
_HEADER = (0x0A, 0x12, 0x1A)
_DATA = (GAUGE, SUM, HISTOGRAM)
_FIRST, _SECOND, _THIRD = 0x0A, 0x12, 0x1A
_TEMPORALITY, _MONOTONIC = 0x10, 0x18
_NS = 1_000_000
_MAX_COUNT = 2**62
_NO_BITS = -1
"""No value of a producer: the bits of a NaN that no arithmetic gives; one that sends it is left to the decoder."""
# Field numbers of points.
_START_TIME, _TIME = 2, 3
_AS_DOUBLE, _NUMBER_EXEMPLARS, _AS_INT, _NUMBER_ATTRIBUTES, _NUMBER_FLAGS = 4, 5, 6, 7, 8
_COUNT, _SUM, _COUNTS, _BOUNDS, _EXEMPLARS, _ATTRIBUTES, _FLAGS, _MIN, _MAX = range(4, 13)
_TIMES = 1 << _START_TIME | 1 << _TIME
_NUMBER = Shape(
    fixed=_TIMES | 1 << _AS_DOUBLE | 1 << _AS_INT,
    varint=1 << _NUMBER_FLAGS,
    packed=0,
    runs=1 << _NUMBER_EXEMPLARS | 1 << _NUMBER_ATTRIBUTES,
)
_HISTOGRAM = Shape(
    fixed=_TIMES | 1 << _COUNT | 1 << _SUM | 1 << _MIN | 1 << _MAX,
    varint=1 << _FLAGS,
    packed=1 << _COUNTS | 1 << _BOUNDS,
    runs=1 << _EXEMPLARS | 1 << _ATTRIBUTES,
)
# Tags of an exemplar.
_EXEMPLAR_TIME, _EXEMPLAR_DOUBLE, _SPAN_ID, _TRACE_ID, _EXEMPLAR_INT = 0x11, 0x19, 0x22, 0x2A, 0x31


@numba.njit(cache=True, nogil=True)
def metric_code(data: int, temporality: int, is_monotonic: int) -> int:
    """What a metric's data is, as one number below `CODES`."""
    return (data * 4 + temporality) * 2 + is_monotonic


@numba.njit(cache=True, nogil=True)
def scan_otlp_requests(
    text: npt.NDArray[np.uint8],
    places: npt.NDArray[np.int64],
    known: Arrays,
    rows: Rows,
    results: npt.NDArray[np.int64],
) -> None:
    """Take requests; what is given as in `pipeline.ingest.scan.rows`."""
    for i in range(len(places)):
        note(rows, results, i, _request(text, message_at(places, i), known, rows))


@numba.njit(cache=True, nogil=True)
def _request(text: npt.NDArray[np.uint8], message: Message, known: Arrays, rows: Rows) -> bool:
    """Take a request; False where it is of another form, or one of its series is not known."""
    at = message.start
    if at == message.end:
        return False
    while at < message.end:
        if text[at] != _FIRST:
            return False
        begin, at = length(text, at + 1, message.end)
        if at < 0 or not _resource_metrics(text, (begin, at), message, known, rows):
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _resource_metrics(
    text: npt.NDArray[np.uint8],
    span: tuple[int, int],
    message: Message,
    known: Arrays,
    rows: Rows,
) -> bool:
    at, end = span
    resource = resource_end = at
    if at < end and text[at] == _FIRST:
        resource, resource_end = length(text, at + 1, end)
        at = resource_end
        if at < 0:
            return False
    if at >= end or text[at] != _SECOND:
        return False
    while at < end and text[at] == _SECOND:
        begin, at = length(text, at + 1, end)
        if at < 0:
            return False
        around = (begin, at, resource, resource_end)
        if not _scope_metrics(text, around, message, known, rows):
            return False
    return _is_schema(text, at, end)


@numba.njit(cache=True, nogil=True)
def _scope_metrics(
    text: npt.NDArray[np.uint8],
    span: tuple[int, int, int, int],
    message: Message,
    known: Arrays,
    rows: Rows,
) -> bool:
    at, end, resource, resource_end = span
    scope = scope_end = at
    if at < end and text[at] == _FIRST:
        scope, scope_end = length(text, at + 1, end)
        at = scope_end
        if at < 0:
            return False
    found = find(known, number_of(OTLP_SCOPE, message.is_keyed), text, (resource, resource_end, scope, scope_end))
    if found < 0:
        return False
    while at < end and text[at] == _SECOND:
        begin, at = length(text, at + 1, end)
        if at < 0 or not _metric(text, (begin, at, found), message, known, rows):
            return False
    return _is_schema(text, at, end)


@numba.njit(cache=True, nogil=True)
def _is_schema(text: npt.NDArray[np.uint8], at: int, end: int) -> bool:
    """Whether nothing but a schema's URL is left."""
    if at == end:
        return True
    if text[at] != _THIRD:
        return False
    begin, stop = length(text, at + 1, end)
    return stop == end and is_utf8(text, begin, stop)


@numba.njit(cache=True, nogil=True)
def _metric(
    text: npt.NDArray[np.uint8],
    span: tuple[int, int, int],
    message: Message,
    known: Arrays,
    rows: Rows,
) -> bool:
    """Take a metric: name, description and unit, then its data, which is the last."""
    begin, end, scope = span
    at = begin
    while 0 <= at < end and text[at] <= _THIRD:
        _, at = length(text, at + 1, end) if text[at] in _HEADER else (0, -1)
    if at < 0 or at >= end or text[at] not in _DATA:
        return False
    data = int(text[at])
    first, stop = length(text, at + 1, end)
    temporality, is_monotonic = _settings(text, first, stop, data)
    if stop != end or temporality < 0:
        return False
    part_of = scope * CODES + metric_code(data, temporality, is_monotonic)
    metric = find(known, number_of(OTLP_METRIC, part_of), text, (begin, at, at, at))
    grows = temporality == CUMULATIVE and (data == HISTOGRAM or is_monotonic == 1)
    return metric >= 0 and _points(text, (first, end, metric, data), grows, message, known, rows)


@numba.njit(cache=True, nogil=True)
def _points(
    text: npt.NDArray[np.uint8],
    span: tuple[int, int, int, int],
    grows: bool,
    message: Message,
    known: Arrays,
    rows: Rows,
) -> bool:
    """Take the points of a metric; its settings stand among them and were read before."""
    at, end, metric, data = span
    while at < end:
        if text[at] != _FIRST:
            _, at = varint(text, at + 1, end)
            continue
        begin, at = length(text, at + 1, end)
        if data == HISTOGRAM:
            is_taken = _histogram(text, (begin, at, metric), grows, message, known, rows)
        else:
            is_taken = _number(text, (begin, at, metric), grows, message, known, rows)
        if not is_taken:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _settings(text: npt.NDArray[np.uint8], at: int, end: int, data: int) -> tuple[int, int]:
    """Temporality and whether monotonic, from among the points; temporality -1 where the data is of another form."""
    temporality, is_monotonic = 0, 0
    while at < end:
        tag = text[at]
        if tag == _FIRST:
            _, at = length(text, at + 1, end)
        elif data != GAUGE and (tag == _TEMPORALITY or (tag == _MONOTONIC and data == SUM)):
            value, at = varint(text, at + 1, end)
            if tag == _TEMPORALITY:
                temporality = value
            else:
                is_monotonic = 1 if value != 0 else 0
        else:
            return -1, 0
        if at < 0:
            return -1, 0
    if data != GAUGE and temporality not in (DELTA, CUMULATIVE):
        return -1, 0
    return temporality, is_monotonic


@numba.njit(cache=True, nogil=True)
def _number(
    text: npt.NDArray[np.uint8],
    span: tuple[int, int, int],
    grows: bool,
    message: Message,
    known: Arrays,
    rows: Rows,
) -> bool:
    """Take a point of a gauge or a sum."""
    begin, end, metric = span
    fields = rows.fields
    if not read_fields(text, begin, end, _NUMBER, fields) or not _are_plain(text, fields, _NUMBER_EXEMPLARS):
        return False
    ts, start = _times(fields, grows, _NUMBER_FLAGS, message)
    attributes, stop = fields[_NUMBER_ATTRIBUTES, 0], fields[_NUMBER_ATTRIBUTES, 1]
    series = find(known, number_of(OTLP_NUMBER, metric), text, (attributes, stop, stop, stop))
    if ts < 0 or series < 0:
        return False
    bits = _number_bits(fields)
    if bits == _NO_BITS:
        return False
    return (start == 0 or add(rows, series, start, 0)) and add(rows, series, ts, bits)


@numba.njit(cache=True, nogil=True)
def _number_bits(fields: npt.NDArray[np.int64]) -> int:
    """Bits of a point's value; _NO_BITS where it has none, or two."""
    if fields[_NUMBER_FLAGS, 0] & 1:
        return STALE_BITS
    either = fields[0, 0] & (1 << _AS_DOUBLE | 1 << _AS_INT)
    if either == 1 << _AS_DOUBLE:
        return int(fields[_AS_DOUBLE, 0])
    if either == 1 << _AS_INT:
        return bits_of(np.float64(fields[_AS_INT, 0]))
    return _NO_BITS


@numba.njit(cache=True, nogil=True)
def _times(fields: npt.NDArray[np.int64], grows: bool, flags: int, message: Message) -> tuple[int, int]:
    """Time of a point (ms, -1 for one that is not taken), and since when it counts where that is told, else 0."""
    ts, start = fields[_TIME, 0] // _NS, fields[_START_TIME, 0] // _NS
    if start < 0 or ts <= 0 or ts < message.earliest or ts > message.latest:
        return -1, 0
    is_told = grows and fields[flags, 0] & 1 == 0 and starts_here(start, ts, message.earliest)
    return ts, start if is_told else 0


@numba.njit(cache=True, nogil=True)
def _are_plain(text: npt.NDArray[np.uint8], fields: npt.NDArray[np.int64], exemplars: int) -> bool:
    """Whether the exemplars have times, values and ids only, no attributes, whose texts would have to be checked."""
    at, end = fields[exemplars, 0], fields[exemplars, 1]
    while at < end:
        begin, at = length(text, at + 1, end)
        stop = begin
        while 0 <= stop < at:
            tag = text[stop]
            if tag in (_SPAN_ID, _TRACE_ID):
                _, stop = length(text, stop + 1, at)
            elif tag in (_EXEMPLAR_TIME, _EXEMPLAR_DOUBLE, _EXEMPLAR_INT):
                stop += 9
            else:
                return False
        if stop != at:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _histogram(
    text: npt.NDArray[np.uint8],
    span: tuple[int, int, int],
    grows: bool,
    message: Message,
    known: Arrays,
    rows: Rows,
) -> bool:
    """Take a point of a histogram with bounds."""
    begin, end, metric = span
    fields = rows.fields
    if not read_fields(text, begin, end, _HISTOGRAM, fields) or not _are_plain(text, fields, _EXEMPLARS):
        return False
    ts, start = _times(fields, grows, _FLAGS, message)
    has_sum = (fields[0, 0] >> _SUM) & 1
    key = number_of(OTLP_HISTOGRAM, metric * 2 + has_sum)
    bounds, bounds_end = fields[_BOUNDS, 0], fields[_BOUNDS, 1]
    block = find(known, key, text, (fields[_ATTRIBUTES, 0], fields[_ATTRIBUTES, 1], bounds, bounds_end))
    if ts < 0 or block < 0 or fields[_COUNT, 0] < 0 or not _is_whole(fields[_COUNTS], bounds_end - bounds):
        return False
    below = np.int64(0)
    size = known.blocks[block]
    for i in range(size):
        bits = fields[_SUM, 0]
        if i > has_sum and i < size - 1:
            count = load64(text, fields[_COUNTS, 0] + 8 * (i - has_sum - 1))
            if count < 0 or count > _MAX_COUNT - below:
                return False
            below += count
            bits = bits_of(np.float64(below))
        elif i != has_sum or i == 0:
            bits = bits_of(np.float64(fields[_COUNT, 0]))
        if fields[_FLAGS, 0] & 1:
            bits = STALE_BITS
        series = known.blocks[block + 1 + i]
        if (start != 0 and not add(rows, series, start, 0)) or not add(rows, series, ts, bits):
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _is_whole(counts: npt.NDArray[np.int64], bounds: int) -> bool:
    """Whether there is one more bucket (begin and end of them) than there are bounds (bytes), or none at all."""
    size = counts[1] - counts[0]
    return size % 8 == 0 and (size == bounds + 8 or (size == 0 and bounds == 0))
