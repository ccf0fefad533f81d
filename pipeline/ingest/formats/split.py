"""A protobuf message of one repeated field into its elements: where the whole cannot be read some of them may be."""

from __future__ import annotations

_TOO_LONG = 64


def elements(payload: bytes, number: int) -> list[bytes] | None:
    """The elements of the repeated field of that number (below 16); None where there is anything else."""
    found, at = [], 0
    while at < len(payload):
        size, begin = _length(payload, at + 1)
        if payload[at] != _tag(number) or begin < 0 or begin + size > len(payload):
            return None
        at = begin + size
        found.append(payload[begin:at])
    return found


def framed(element: bytes, number: int) -> bytes:
    """A message of this element only."""
    size, length = len(element), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([_tag(number), *length, size]) + element


def _tag(number: int) -> int:
    return number << 3 | 2


def _length(payload: bytes, at: int) -> tuple[int, int]:
    """A length, and where what it measures begins; -1 where it is none."""
    size = shift = 0
    while at < len(payload) and shift < _TOO_LONG:
        size |= (payload[at] & 0x7F) << shift
        shift += 7
        at += 1
        if payload[at - 1] < 0x80:
            return size, at
    return 0, -1
