"""Snapshots as programs up to format 1 wrote them: the whole state as one string, cut into chunks 0, 1, 2, ….

b"DURI" | uint32 length of header | header (JSON) | parts, each compressed by itself (zstd)

header = {"v": 1, "stage": "detect", "parts": [{"name", "size", "dtype"?, "shape"?}, …]}
         `size` is that of the compressed part; no dtype means bytes
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import cramjam
import numpy as np

from pipeline.errors import StateError
from pipeline.runtime.snapshots import Index, Place

if TYPE_CHECKING:
    import numpy.typing as npt

MAGIC = b"DURI"
_VERSION = 1
_HEAD = struct.Struct("<4sI")


def is_whole(data: bytes) -> bool:
    """Whether these are the chunks of such a snapshot."""
    return data.startswith(MAGIC)


def as_index(stage: str, chunks: int) -> Index:
    """An index that has none of its blocks, and knows which numbers the chunks have."""
    return Index(stage, [], {f"chunk {number}".encode(): Place(number, -1) for number in range(chunks)})


def decode_whole(stage: str, data: bytes) -> dict[str, npt.NDArray[np.generic] | bytes]:
    """The state, in arrays of its own. Raises StateError where the bytes are not this stage's snapshot."""
    try:
        _, length = _HEAD.unpack_from(data)
        start = _HEAD.size + length
        header = json.loads(data[_HEAD.size : start])
        if header["v"] != _VERSION:
            raise StateError(f"snapshot of {stage} has format {header['v']}, such chunks are read as {_VERSION} only")
        if header["stage"] != stage:
            raise StateError(f"snapshot is of stage {header['stage']}, not of {stage}")
        return _parts(header["parts"], memoryview(data)[start:])
    except (cramjam.DecompressionError, struct.error, ValueError, TypeError, KeyError) as error:
        raise StateError(f"snapshot of {stage} is damaged: {error}") from error


def _parts(described: list[dict[str, Any]], body: memoryview) -> dict[str, npt.NDArray[np.generic] | bytes]:
    state: dict[str, npt.NDArray[np.generic] | bytes] = {}
    at = 0
    for part in described:
        raw = memoryview(cramjam.zstd.decompress(body[at : at + part["size"]]))
        at += part["size"]
        if "dtype" in part:
            state[part["name"]] = np.frombuffer(raw, dtype=part["dtype"]).reshape(part["shape"]).copy()
        else:
            state[part["name"]] = bytes(raw)
    if at != len(body):
        raise StateError(f"snapshot has {len(body)} bytes of state where its header says {at}")
    return state
