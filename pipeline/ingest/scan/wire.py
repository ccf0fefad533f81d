"""Protobuf's wire format (protobuf.dev/programming-guides/encoding), as far as the scanners need it.

A position of -1 says that the bytes are not of the form that is read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.ingest.scan.compiled import kernel
from pipeline.ingest.scan.words import load64

if TYPE_CHECKING:
    import numpy.typing as npt

_VARINT_BYTES = 9
"""Longer ones are negative, or too large for what is read here."""
_VARINT, _FIXED64, _MEASURED, _FIXED32 = 0, 1, 2, 5
FIELDS = 32
"""Rows of the array that `read_fields` writes: a tag of one byte has a field number below this."""


class Shape(NamedTuple):
    """Which fields a small message may have, as bits by number for each type of field.

    Those of `runs` are repeated messages, which must stand together.
    """

    fixed: int
    varint: int
    packed: int
    runs: int


@kernel
def varint(text: npt.NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """A number from 0 to 2^63 - 1, and the position after it."""
    value = 0
    shift = 0
    stop = min(end, at + _VARINT_BYTES)
    while at < stop:
        byte = int(text[at])
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    return value, -1


@kernel
def length(text: npt.NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Of what is measured by a length: where it begins and where it ends."""
    size, begin = varint(text, at, end)
    if begin < 0 or size > end - begin:
        return begin, -1
    return begin, begin + size


@kernel
def run_end(text: npt.NDArray[np.uint8], at: int, end: int, tag: int) -> int:
    """Position after a run of measured fields with this tag, which begins at `at`."""
    while at < end and text[at] == tag:
        _, at = length(text, at + 1, end)
        if at < 0:
            return -1
    return at


@kernel
def list_fields(text: npt.NDArray[np.uint8], at: int, end: int, fields: npt.NDArray[np.int64]) -> int:
    """How many fields the message between these places has; -1 where it has groups, or cannot be read.

    fields int64[n, 4]: of as many as there is room for its number, where its tag begins, where its value begins and
    ends.
    """
    count = 0
    while at < end:
        start = at
        tag, begin = varint(text, at, end)
        wire_type = tag & 7
        if wire_type == _MEASURED:
            begin, at = length(text, begin, end)
        elif wire_type == _VARINT:
            at = begin
            while at < end and text[at] >= 0x80:
                at += 1
            at += 1
        elif wire_type in (_FIXED64, _FIXED32):
            at = begin + (8 if wire_type == _FIXED64 else 4)
        else:
            return -1
        if begin < 0 or at < 0:
            return -1
        if count < len(fields):
            fields[count, 0], fields[count, 1], fields[count, 2], fields[count, 3] = tag >> 3, start, begin, at
        count += 1
    return count


@kernel
def read_fields(text: npt.NDArray[np.uint8], at: int, end: int, shape: Shape, fields: npt.NDArray[np.int64]) -> bool:
    """Read a message that has only fields of this shape, the last of each; False where it has others.

    fields int64[FIELDS, 2]: by number the value (of 64 bits: the bits), or where what is measured begins and ends.
    Row 0 says which were there, as bits by number.
    """
    fields[:] = 0
    while at < end:
        tag = np.int64(text[at])
        number, wire_type = tag >> 3, tag & 7
        bit = np.int64(1) << number
        if wire_type == _FIXED64 and shape.fixed & bit and end - at >= 9:
            fields[number, 0] = load64(text, at + 1)
            at += 9
        elif wire_type == _VARINT and shape.varint & bit:
            fields[number, 0], at = varint(text, at + 1, end)
        elif wire_type == _MEASURED and not fields[0, 0] & bit:
            at = _measured(text, at, end, shape, fields)
        else:
            return False
        if at < 0:
            return False
        fields[0, 0] |= bit
    return True


@kernel
def _measured(text: npt.NDArray[np.uint8], at: int, end: int, shape: Shape, fields: npt.NDArray[np.int64]) -> int:
    """Note where a packed field, or a run of a repeated one, begins and ends; the position after it."""
    tag = np.int64(text[at])
    number = tag >> 3
    if shape.runs & (np.int64(1) << number):
        begin, stop = at, run_end(text, at, end, int(tag))
    elif shape.packed & (np.int64(1) << number):
        begin, stop = length(text, at + 1, end)
    else:
        return -1
    fields[number, 0], fields[number, 1] = begin, stop
    return stop


@kernel
def is_utf8(text: npt.NDArray[np.uint8], at: int, end: int) -> bool:
    """Whether these bytes are UTF-8 (RFC 3629: no overlong forms, no surrogates, up to U+10FFFF)."""
    while at < end:
        first = text[at]
        at += 1
        if first < 0x80:
            continue
        more = _following(first)
        if more == 0 or at + more > end or not _is_second(first, text[at]):
            return False
        for i in range(1, more):
            if text[at + i] & 0xC0 != 0x80:
                return False
        at += more
    return True


@kernel
def _following(first: int) -> int:
    """How many bytes follow a first byte; 0 where none may be one."""
    if 0xC2 <= first < 0xE0:
        return 1
    if 0xE0 <= first < 0xF0:
        return 2
    return 3 if 0xF0 <= first < 0xF5 else 0


@kernel
def _is_second(first: int, second: int) -> bool:
    low = 0xA0 if first == 0xE0 else 0x90 if first == 0xF0 else 0x80
    high = 0x9F if first == 0xED else 0x8F if first == 0xF4 else 0xBF
    return low <= second <= high
