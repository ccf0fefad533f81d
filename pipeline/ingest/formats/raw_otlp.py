"""The very bytes that a request has for what its points belong to, whatever order its fields have.

The scanner knows series by these; a message that was parsed and serialised again need not have them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT, _FIXED64, _MEASURED, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}


class Field(NamedTuple):
    """A field of a message: its number, where its tag begins, where its value begins and ends."""

    number: int
    start: int
    begin: int
    end: int


class RawRequest:
    """Looks fields up in a message that protobuf has taken, from the first to the last.

    Of the messages around what is looked up, and of no others, it remembers what is in them.
    """

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._around: list[tuple[Field, dict[int, list[Field]]]] = []
        self.root = Field(0, 0, 0, len(payload))

    def child(self, parent: Field, number: int, place: int) -> Field:
        """The field of that number, one of several. Raises LookupError."""
        return self._fields(parent)[number][place]

    def only(self, parent: Field, number: int) -> Field:
        """A field that is there once. Raises LookupError where it is not, or is repeated."""
        found = self._fields(parent)[number]
        if len(found) > 1:
            raise LookupError(number)
        return found[0]

    def own(self, parent: Field, number: int) -> bytes:
        """Value of a field that is there once, or not at all. Raises LookupError where it is repeated."""
        fields = self._fields(parent)
        if number not in fields:
            return b""
        found = self.only(parent, number)
        return self._payload[found.begin : found.end]

    def run(self, parent: Field, number: int) -> bytes:
        """A repeated field with its tags. Raises LookupError where others stand between."""
        begin = end = parent.begin
        for field in self._inside(parent):
            if field.number != number:
                continue
            if end > parent.begin and field.start != end:
                raise LookupError(number)
            if end == parent.begin:
                begin = field.start
            end = field.end
        return self._payload[begin:end]

    def _fields(self, parent: Field) -> dict[int, list[Field]]:
        around = self._around
        # What lies inside the parent stays: each metric asks from the outermost message on.
        while around and (around[-1][0].end <= parent.begin or parent.end <= around[-1][0].begin):
            around.pop()
        for held, fields in around:
            if held.begin == parent.begin:
                return fields
        found: dict[int, list[Field]] = {}
        for field in self._inside(parent):
            found.setdefault(field.number, []).append(field)
        around.append((parent, found))
        return found

    def _inside(self, parent: Field) -> Iterator[Field]:
        at = parent.begin
        while at < parent.end:
            field = self._field(at)
            yield field
            at = field.end

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
