"""The very bytes that a request has for what its points belong to, whatever order its fields have.

The scanner knows series by these; a message that was parsed and serialised again need not have them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

_VARINT, _FIXED64, _MEASURED, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}


class Field(NamedTuple):
    """A field of a message: its number, where its tag begins, where its value begins and ends."""

    number: int
    start: int
    begin: int
    end: int


class RawRequest:
    """Looks fields up in a message that protobuf has taken. Each message in it is read once."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._read: dict[int, dict[int, list[Field]]] = {}
        self.root = Field(0, 0, 0, len(payload))

    def child(self, parent: Field, number: int, place: int) -> Field:
        """The field of that number, one of several. Raises LookupError."""
        return self._fields(parent)[number][place]

    def only(self, parent: Field, number: int) -> bytes:
        """Value of a field that is there once, or not at all. Raises LookupError where it is repeated."""
        found = self._fields(parent).get(number, [])
        if len(found) > 1:
            raise LookupError(number)
        return self._payload[found[0].begin : found[0].end] if found else b""

    def run(self, parent: Field, number: int) -> bytes:
        """A repeated field with its tags. Raises LookupError where others stand between."""
        found = self._fields(parent).get(number, [])
        if any(one.end != following.start for one, following in pairwise(found)):
            raise LookupError(number)
        return self._payload[found[0].start : found[-1].end] if found else b""

    def _fields(self, parent: Field) -> dict[int, list[Field]]:
        known = self._read.get(parent.begin)
        if known is None:
            known = self._read[parent.begin] = {}
            at = parent.begin
            while at < parent.end:
                field = self._field(at)
                known.setdefault(field.number, []).append(field)
                at = field.end
        return known

    def _field(self, at: int) -> Field:
        tag, begin = self._varint(at)
        wire_type = tag & 7
        if wire_type == _MEASURED:
            size, begin = self._varint(begin)
            return Field(tag >> 3, at, begin, begin + size)
        if wire_type == _VARINT:
            return Field(tag >> 3, at, begin, self._varint(begin)[1])
        return Field(tag >> 3, at, begin, begin + _SIZES[wire_type])

    def _varint(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = self._payload[at]
            value |= (byte & 0x7F) << shift
            shift += 7
            at += 1
            if byte < 0x80:
                return value, at
