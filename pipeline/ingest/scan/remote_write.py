"""Remote write, both versions: series of samples. Histograms, exemplars and metadata in 1.0 are left to the decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.ingest.scan.compiled import kernel
from pipeline.ingest.scan.known import REMOTE_WRITE, REMOTE_WRITE_2, find, number_of
from pipeline.ingest.scan.rows import add, message_at, note, starts_here
from pipeline.ingest.scan.wire import Shape, is_utf8, length, read_fields, run_end, varint

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pipeline.ingest.scan.known import Arrays
    from pipeline.ingest.scan.rows import Message, Rows

_SERIES, _LABELS, _SAMPLES = 0x0A, 0x0A, 0x12
_VALUE, _TIMESTAMP, _START = 1, 2, 3
_SAMPLE = Shape(fixed=1 << _VALUE, varint=1 << _TIMESTAMP | 1 << _START, packed=0, runs=0)
_SYMBOL, _SERIES_2, _REFS = 0x22, 0x2A, 0x0A
_METADATA, _CREATED = 0x2A, 0x30
_TYPE, _HELP, _UNIT = 1, 3, 4
_SAID = Shape(fixed=0, varint=1 << _TYPE | 1 << _HELP | 1 << _UNIT, packed=0, runs=0)
_TYPES = 8
_UNSAID = -1
"""Whether a series only grows, where its labels alone do not say: what tells its start is left to the decoder."""


@kernel
def scan_write_requests(
    text: npt.NDArray[np.uint8],
    places: npt.NDArray[np.int64],
    known: Arrays,
    rows: Rows,
    results: npt.NDArray[np.int64],
) -> None:
    """Take requests of 1.0; what is given as in `pipeline.ingest.scan.rows`."""
    for i in range(len(places)):
        note(rows, results, i, _write_request(text, message_at(places, i), known, rows))


@kernel
def _write_request(text: npt.NDArray[np.uint8], message: Message, known: Arrays, rows: Rows) -> bool:
    """Take a request of 1.0; False where it is of another form, or one of its series is not known."""
    at = message.start
    if at == message.end:
        return False
    key = number_of(REMOTE_WRITE, message.is_keyed)
    while at < message.end:
        if text[at] != _SERIES:
            return False
        begin, at = length(text, at + 1, message.end)
        if at < 0:
            return False
        labels_end = run_end(text, begin, at, _LABELS)
        if labels_end < 0:
            return False
        series = find(known, key, text, (begin, labels_end, labels_end, labels_end))
        if series < 0 or not _samples(text, (labels_end, at), message, rows, (series, _UNSAID, 0)):
            return False
    return True


@kernel
def _samples(
    text: npt.NDArray[np.uint8], span: tuple[int, int], message: Message, rows: Rows, of: tuple[int, int, int]
) -> bool:
    """Take a run of samples; `of`: their series, whether it only grows, and since when, ms (0: nobody says)."""
    at, end = span
    while at < end:
        if text[at] != _SAMPLES:
            return False
        begin, at = length(text, at + 1, end)
        if at < 0 or not read_fields(text, begin, at, _SAMPLE, rows.fields) or not _sample(message, rows, of):
            return False
    return True


@kernel
def _sample(message: Message, rows: Rows, of: tuple[int, int, int]) -> bool:
    """Take the sample whose fields were read."""
    series, grows, created = of
    bits, ts, start = rows.fields[_VALUE, 0], rows.fields[_TIMESTAMP, 0], rows.fields[_START, 0]
    if start == 0:
        start = created
    if ts <= 0 or ts < message.earliest or ts > message.latest or (start != 0 and grows == _UNSAID):
        return False
    is_told = grows == 1 and starts_here(start, ts, message)
    return (not is_told or add(rows, series, start, 0)) and add(rows, series, ts, bits)


@kernel
def scan_requests_2(
    text: npt.NDArray[np.uint8],
    places: npt.NDArray[np.int64],
    known: Arrays,
    rows: Rows,
    results: npt.NDArray[np.int64],
) -> None:
    """Take requests of 2.0; what is given as in `pipeline.ingest.scan.rows`."""
    for i in range(len(places)):
        note(rows, results, i, _request_2(text, message_at(places, i), known, rows))


@kernel
def _request_2(text: npt.NDArray[np.uint8], message: Message, known: Arrays, rows: Rows) -> bool:
    """Take a request of 2.0; False where it is of another form, or one of its series is not known."""
    at, end = message.start, message.end
    if at == end:
        return False
    symbols = 0
    while at < end and text[at] == _SYMBOL:
        begin, at = length(text, at + 1, end)
        if at < 0 or not is_utf8(text, begin, at):
            return False
        rows.symbols[symbols, 0], rows.symbols[symbols, 1] = begin, at
        symbols += 1
    while at < end:
        if text[at] != _SERIES_2:
            return False
        begin, at = length(text, at + 1, end)
        if at < 0 or not _series_2(text, (begin, at, symbols), message, known, rows):
            return False
    return True


@kernel
def _series_2(
    text: npt.NDArray[np.uint8], span: tuple[int, int, int], message: Message, known: Arrays, rows: Rows
) -> bool:
    """Take a series: references of labels, samples, then what is said about them."""
    at, end, symbols = span
    refs = refs_end = at
    if at < end and text[at] == _REFS:
        refs, refs_end = length(text, at + 1, end)
        if refs_end < 0:
            return False
        at = refs_end
    samples = at
    samples_end = run_end(text, at, end, _SAMPLES)
    if samples_end < 0:
        return False
    kind, unit, created = _about(text, samples_end, end, rows)
    if kind < 0 or unit >= symbols:
        return False
    size = _spell(text, refs, refs_end, symbols, rows)
    if size < 0:
        return False
    key_size = size
    if unit > 0:
        size = _copy(text, rows.symbols[unit], rows, size)
    key = number_of(REMOTE_WRITE_2, (kind * 2 + (1 if unit > 0 else 0)) * 2 + message.is_keyed)
    found = find(known, key, rows.scratch, (0, key_size, key_size, size))
    if found < 0:
        return False
    return _samples(text, (samples, samples_end), message, rows, (found >> 1, found & 1, created))


@kernel
def _about(text: npt.NDArray[np.uint8], at: int, end: int, rows: Rows) -> tuple[int, int, int]:
    """Type and unit of the metadata, and the created timestamp; type -1 where these bytes are of another form."""
    kind, unit, created = 0, 0, 0
    if at < end and text[at] == _METADATA:
        begin, at = length(text, at + 1, end)
        if at < 0 or not read_fields(text, begin, at, _SAID, rows.fields) or rows.fields[_TYPE, 0] >= _TYPES:
            return -1, unit, created
        kind, unit = int(rows.fields[_TYPE, 0]), int(rows.fields[_UNIT, 0])
    if at < end and text[at] == _CREATED:
        created, at = varint(text, at + 1, end)
    return (kind, unit, created) if at == end else (-1, unit, created)


@kernel
def _spell(text: npt.NDArray[np.uint8], at: int, end: int, symbols: int, rows: Rows) -> int:
    """Write the symbols that are referred to into the scratch, each with its length before; the size of it, or -1."""
    size = 0
    while at < end:
        ref, at = varint(text, at, end)
        if at < 0 or ref >= symbols:
            return -1
        size = _copy(text, rows.symbols[ref], rows, size)
        if size < 0:
            return -1
    return size


@kernel
def _copy(text: npt.NDArray[np.uint8], span: npt.NDArray[np.int64], rows: Rows, size: int) -> int:
    """Length (four bytes) and bytes of this span, after what is in the scratch; the new size of that, or -1."""
    n = span[1] - span[0]
    if size < 0 or size + 4 + n > len(rows.scratch):
        return -1
    for i in range(4):
        rows.scratch[size + i] = (n >> (8 * i)) & 0xFF
    for i in range(n):
        rows.scratch[size + 4 + i] = text[span[0] + i]
    return int(size + 4 + n)
