"""Compression of whole messages, as the header `content-encoding` names it: gzip, deflate, zstd, snappy.

What Kafka itself compresses (batches) is unfolded by its client and never seen here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cramjam

from pipeline.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.ingest.limits import Limits

ENCODING_HEADER: Final = "content-encoding"

_FRAMED_SNAPPY: Final = b"\xff\x06\x00\x00sNaPpY"
# An element of a snappy block is at least two bytes and gives at most 64.
_SNAPPY_RATIO: Final = 32
_FIRST_GUESS: Final = 8
_TOO_SMALL: Final = "failed to write whole buffer"


def unfold(payload: bytes, name: str, limits: Limits) -> bytes:
    """The message itself. Raises DecodeError (reason `encoding`, or `size` where it unfolds too far)."""
    if name in ("", "identity"):
        return payload
    unfolder = _UNFOLDERS.get(name)
    if unfolder is None:
        raise DecodeError(
            f"content-encoding {name[:40]!r} is not read here; known: {', '.join(_UNFOLDERS)}", reason="encoding"
        )
    try:
        return unfolder(payload, limits)
    except cramjam.DecompressionError as error:
        raise DecodeError(f"not {name}: {error}", reason="encoding") from error


def unfold_snappy_block(payload: bytes, limits: Limits) -> bytes:
    """A snappy block, which begins with its unfolded size; raises cramjam.DecompressionError, DecodeError (`size`)."""
    size = cramjam.snappy.decompress_raw_len(payload)
    if size > _SNAPPY_RATIO * len(payload):
        raise cramjam.DecompressionError(f"no block of {len(payload)} bytes unfolds to {size}")
    limits.check_unfolded(size)
    return bytes(cramjam.snappy.decompress_raw(payload))


def _snappy(payload: bytes, limits: Limits) -> bytes:
    if payload.startswith(_FRAMED_SNAPPY):
        return _growing(cramjam.snappy.decompress_into)(payload, limits)
    return unfold_snappy_block(payload, limits)


def _growing(into: Callable[[bytes, bytearray], int]) -> Callable[[bytes, Limits], bytes]:
    """Unfolds into a buffer that grows up to the limit: memory follows what is there, not what a header claims."""

    def unfolder(payload: bytes, limits: Limits) -> bytes:
        size = _FIRST_GUESS * len(payload)
        while True:
            room = bytearray(min(size, limits.max_unfolded))
            try:
                return bytes(memoryview(room)[: into(payload, room)])
            except cramjam.DecompressionError as error:
                if str(error) != _TOO_SMALL:
                    raise
            limits.check_unfolded(size)
            size *= 4

    return unfolder


_UNFOLDERS: Final[dict[str, Callable[[bytes, Limits], bytes]]] = {
    "gzip": _growing(cramjam.gzip.decompress_into),
    "deflate": _growing(cramjam.zlib.decompress_into),
    "zstd": _growing(cramjam.zstd.decompress_into),
    "snappy": _snappy,
}
