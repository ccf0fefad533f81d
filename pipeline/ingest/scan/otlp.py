"""OTLP protobuf: gauges, sums and histograms with bounds; the other kinds of data are left to the decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.scan.compiled import kernel
from pipeline.ingest.scan.known import OTLP_HISTOGRAM, OTLP_METRIC, OTLP_NUMBER, OTLP_SCOPE, find, number_of
from pipeline.ingest.scan.rows import add, bits_of, message_at, note, starts_here
from pipeline.ingest.scan.wire import Shape, is_utf8, length, read_fields
from pipeline.ingest.scan.words import load64
from pipeline.series import STALE_BITS

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.ingest.scan.known import Arrays
    from pipeline.ingest.scan.rows import Message, Rows

GAUGE, SUM, HISTOGRAM = 5, 7, 9
"""Field numbers of a metric's data."""
NUMBER_ATTRIBUTES, HISTOGRAM_ATTRIBUTES = 7, 9
"""Field numbers of a point's attributes."""
DELTA, CUMULATIVE = 1, 2
CODES = 2048
"""A metric's code is below this."""
# Producers order fields as they like (the Collector from the last to the first), but keep repeated ones together.
_OWN, _INSIDE, _SCHEMA = 1, 2, 3
_AROUND = Shape(fixed=0, varint=0, packed=1 << _OWN | 1 << _SCHEMA, runs=1 << _INSIDE)
"""ResourceMetrics and ScopeMetrics: the resource or scope, what is in it, the schema's URL."""
_NAME, _DESCRIPTION, _UNIT = 1, 2, 3
_METRIC = Shape(
    fixed=0,
    varint=0,
    packed=1 << _NAME | 1 << _DESCRIPTION | 1 << _UNIT | 1 << GAUGE | 1 << SUM | 1 << HISTOGRAM,
    runs=0,
)
_POINTS, _TEMPORALITY, _MONOTONIC = 1, 2, 3
_DATA = Shape(fixed=0, varint=1 << _TEMPORALITY | 1 << _MONOTONIC, packed=0, runs=1 << _POINTS)
_FIRST = 0x0A
_NS = 1_000_000
_MAX_COUNT = 2**62
_NO_BITS = -1
"""No value of a producer: the bits of a NaN that no arithmetic gives; one that sends it is left to the decoder."""
# Field numbers of points.
_START_TIME, _TIME = 2, 3
_AS_DOUBLE, _NUMBER_EXEMPLARS, _AS_INT, _NUMBER_FLAGS = 4, 5, 6, 8
_COUNT, _SUM, _COUNTS, _BOUNDS, _EXEMPLARS = range(4, 9)
_FLAGS, _MIN, _MAX = range(10, 13)
_TIMES = 1 << _START_TIME | 1 << _TIME
_NUMBER = Shape(
    fixed=_TIMES | 1 << _AS_DOUBLE | 1 << _AS_INT,
    varint=1 << _NUMBER_FLAGS,
    packed=0,
    runs=1 << _NUMBER_EXEMPLARS | 1 << NUMBER_ATTRIBUTES,
)
_HISTOGRAM = Shape(
    fixed=_TIMES | 1 << _COUNT | 1 << _SUM | 1 << _MIN | 1 << _MAX,
    varint=1 << _FLAGS,
    packed=1 << _COUNTS | 1 << _BOUNDS,
    runs=1 << _EXEMPLARS | 1 << HISTOGRAM_ATTRIBUTES,
)
# Tags of an exemplar.
_EXEMPLAR_TIME, _EXEMPLAR_DOUBLE, _SPAN_ID, _TRACE_ID, _EXEMPLAR_INT = 0x11, 0x19, 0x22, 0x2A, 0x31


@kernel
def metric_code(data: int, temporality: int, is_monotonic: int) -> int:
    """What a metric's data is, as one number below `CODES`."""
    return (data * 4 + temporality) * 2 + is_monotonic


@kernel
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


@kernel
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


@kernel
def _resource_metrics(
    text: npt.NDArray[np.uint8], span: tuple[int, int], message: Message, known: Arrays, rows: Rows
) -> bool:
    fields = rows.fields
    if not read_fields(text, span[0], span[1], _AROUND, fields) or not _is_schema(text, fields):
        return False
    resource, resource_end, at, end = fields[_OWN, 0], fields[_OWN, 1], fields[_INSIDE, 0], fields[_INSIDE, 1]
    # A resource without metrics is for the decoder to look at.
    is_taken = bool(at < end)
    while is_taken and at < end:
        begin, at = length(text, at + 1, end)
        is_taken = _scope_metrics(text, (begin, at, resource, resource_end), message, known, rows)
    return is_taken


@kernel
def _scope_metrics(
    text: npt.NDArray[np.uint8], span: tuple[int, int, int, int], message: Message, known: Arrays, rows: Rows
) -> bool:
    fields = rows.fields
    if not read_fields(text, span[0], span[1], _AROUND, fields) or not _is_schema(text, fields):
        return False
    at, end = fields[_INSIDE, 0], fields[_INSIDE, 1]
    around = (span[2], span[3], fields[_OWN, 0], fields[_OWN, 1])
    scope = find(known, number_of(OTLP_SCOPE, message.is_keyed), text, around)
    is_taken = scope >= 0
    while is_taken and at < end:
        begin, at = length(text, at + 1, end)
        is_taken = _metric(text, (begin, at, scope), message, known, rows)
    return is_taken


@kernel
def _is_schema(text: npt.NDArray[np.uint8], fields: npt.NDArray[np.int64]) -> bool:
    return bool(is_utf8(text, fields[_SCHEMA, 0], fields[_SCHEMA, 1]))


@kernel
def _metric(
    text: npt.NDArray[np.uint8], span: tuple[int, int, int], message: Message, known: Arrays, rows: Rows
) -> bool:
    fields = rows.fields
    if not read_fields(text, span[0], span[1], _METRIC, fields):
        return False
    data = _data_of(fields[0, 0])
    if data < 0 or not is_utf8(text, fields[_DESCRIPTION, 0], fields[_DESCRIPTION, 1]):
        return False
    named = (fields[_NAME, 0], fields[_NAME, 1], fields[_UNIT, 0], fields[_UNIT, 1])
    if not read_fields(text, fields[data, 0], fields[data, 1], _DATA, fields):
        return False
    temporality = _temporality(data, fields)
    if temporality < 0:
        return False
    is_monotonic = 1 if fields[_MONOTONIC, 0] != 0 else 0
    code = metric_code(data, temporality, is_monotonic)
    metric = find(known, number_of(OTLP_METRIC, span[2] * CODES + code), text, named)
    grows = temporality == CUMULATIVE and (data == HISTOGRAM or is_monotonic == 1)
    points = (fields[_POINTS, 0], fields[_POINTS, 1], metric, data)
    return metric >= 0 and _points(text, points, grows, message, known, rows)


@kernel
def _data_of(there: int) -> int:
    """Field number of the metric's only data; -1 where there is none, or are several."""
    data = there & (1 << GAUGE | 1 << SUM | 1 << HISTOGRAM)
    for number in (GAUGE, SUM, HISTOGRAM):
        if data == 1 << number:
            return number
    return -1


@kernel
def _temporality(data: int, fields: npt.NDArray[np.int64]) -> int:
    """Temporality of the data whose fields were read, 0 for a gauge; -1 where it says none, or more than it may."""
    if (data != SUM and fields[0, 0] >> _MONOTONIC & 1) or (data == GAUGE and fields[0, 0] >> _TEMPORALITY & 1):
        return -1
    temporality = int(fields[_TEMPORALITY, 0])
    return temporality if data == GAUGE or temporality in (DELTA, CUMULATIVE) else -1


@kernel
def _points(
    text: npt.NDArray[np.uint8],
    span: tuple[int, int, int, int],
    grows: bool,
    message: Message,
    known: Arrays,
    rows: Rows,
) -> bool:
    at, end, metric, data = span
    is_taken = True
    while is_taken and at < end:
        begin, at = length(text, at + 1, end)
        if data == HISTOGRAM:
            is_taken = _histogram(text, (begin, at, metric), grows, message, known, rows)
        else:
            is_taken = _number(text, (begin, at, metric), grows, message, known, rows)
    return is_taken


@kernel
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
    attributes, stop = fields[NUMBER_ATTRIBUTES, 0], fields[NUMBER_ATTRIBUTES, 1]
    series = find(known, number_of(OTLP_NUMBER, metric), text, (attributes, stop, stop, stop))
    if ts < 0 or series < 0:
        return False
    bits = _number_bits(fields)
    if bits == _NO_BITS:
        return False
    return (start == 0 or add(rows, series, start, 0)) and add(rows, series, ts, bits)


@kernel
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


@kernel
def _times(fields: npt.NDArray[np.int64], grows: bool, flags: int, message: Message) -> tuple[int, int]:
    """Time of a point (ms, -1 for one that is not taken), and since when it counts where that is told, else 0."""
    ts, start = fields[_TIME, 0] // _NS, fields[_START_TIME, 0] // _NS
    if start < 0 or ts <= 0 or ts < message.earliest or ts > message.latest:
        return -1, 0
    is_told = grows and fields[flags, 0] & 1 == 0 and starts_here(start, ts, message)
    return ts, start if is_told else 0


@kernel
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


@kernel
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
    block = find(
        known, key, text, (fields[HISTOGRAM_ATTRIBUTES, 0], fields[HISTOGRAM_ATTRIBUTES, 1], bounds, bounds_end)
    )
    if ts < 0 or block < 0 or fields[_COUNT, 0] < 0 or not _is_whole(fields[_COUNTS], bounds_end - bounds):
        return False
    below = np.int64(0)
    size = known.blocks[block]
    last = fields[_COUNTS, 1] - 8
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
    # What the buckets hold is the count, or the decoder says that it is not.
    return bool(last < fields[_COUNTS, 0] or 0 <= load64(text, last) == fields[_COUNT, 0] - below)


@kernel
def _is_whole(counts: npt.NDArray[np.int64], bounds: int) -> bool:
    """Whether there is one more bucket (begin and end of them) than there are bounds (bytes), or none at all."""
    size = counts[1] - counts[0]
    return size % 8 == 0 and (size == bounds + 8 or (size == 0 and bounds == 0))
