"""What is fuzzed: each decoder, and `message`, which is all that a message goes through before and around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pipeline.errors import DecodeError
from pipeline.ingest.formats.registry import AUTO, FORMATS, by_name, decode_message, open_message
from pipeline.ingest.limits import Limits
from pipeline.settings import IngestSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.ingest.formats.registry import Decode
    from pipeline.ingest.points import Context, Points
    from pipeline.stage import Headers

MESSAGE: Final = "message"
ENCODINGS: Final = (b"", b"gzip", b"deflate", b"zstd", b"snappy", b"GZIP", b"identity", b"br", b"\xff")
_CONTENT_TYPES: Final = (b"", *(entry.content_types[0].encode() for entry in FORMATS), b"text/xml", b";=", b"\xff")
_TIMES: Final = (b"", b"2026-01-01T00:00:00Z", b"1767225600000", b"1970-01-01T00:00:00Z", b"x", b"\xff")
_LIMITS: Final = Limits(IngestSettings(max_decompressed_bytes=1 << 20))
HEAD: Final = 3
"""The first bytes of a fuzzed message say which headers it has; what follows is its value."""


class Subject(NamedTuple):
    """Something that takes bytes as a decoder does."""

    decode: Decode
    size: Callable[[bytes], int]
    """Bytes of a message, unfolded where it is compressed and can be."""
    bomb: int = 0
    """Bytes beside a message that does not unfold: it fills its limit before it is refused, beside a room too small."""


def names() -> list[str]:
    """Of all subjects."""
    return [*(entry.name for entry in FORMATS), MESSAGE]


def subject_of(name: str) -> Subject:
    """The subject of this name. Raises DecodeError."""
    if name == MESSAGE:
        return Subject(_decode, _size, 2 * _LIMITS.max_unfolded)
    entry = by_name(name)

    def size(payload: bytes) -> int:
        try:
            return max(len(payload), len(entry.unfold(payload, "", _LIMITS)))
        except DecodeError:
            return len(payload)

    return Subject(entry.decode, size)


def _headers(payload: bytes) -> Headers:
    """Headers by the first bytes, spelt as people do; any that is empty is left out as often as not."""
    encoding, content_type, time = (payload[:HEAD] + bytes(HEAD))[:HEAD]
    found = (
        ("Content-Encoding", ENCODINGS[encoding % len(ENCODINGS)]),
        ("Content-Type", _CONTENT_TYPES[content_type % len(_CONTENT_TYPES)]),
        ("ce_time", _TIMES[time % len(_TIMES)]),
    )
    return [(name, value) for name, value in found if value]


def _decode(payload: bytes, context: Context) -> Points:
    return decode_message(open_message(payload[HEAD:], _headers(payload), AUTO, _LIMITS), context)


def _size(payload: bytes) -> int:
    try:
        opened = open_message(payload[HEAD:], _headers(payload), AUTO, _LIMITS)
        return max(len(payload), len(opened.format.unfold(opened.payload, opened.encoding, _LIMITS)))
    except DecodeError:
        return len(payload)
