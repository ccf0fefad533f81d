"""The very bytes that a request has for what its points belong to, whatever order its fields have.

The scanner knows series by these; a message that was parsed and serialised again need not have them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.ingest.scan.wire import list_fields

_FEW = 64


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
        self._text = np.frombuffer(payload, dtype=np.uint8)
        self._room = np.empty((_FEW, 4), dtype=np.int64)
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

    def _inside(self, parent: Field) -> list[Field]:
        """Its fields, in order. Raises LookupError where it has groups, which nothing here knows."""
        count = int(list_fields(self._text, parent.begin, parent.end, self._room))
        if count < 0:
            raise LookupError(parent.number)
        if count > len(self._room):
            self._room = np.empty((2 * count, 4), dtype=np.int64)
            list_fields(self._text, parent.begin, parent.end, self._room)
        return [Field(*row) for row in self._room[:count].tolist()]
