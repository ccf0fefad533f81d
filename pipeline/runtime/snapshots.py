"""A stage's state as bytes and back: no pickle, every array with its name, type and shape.

b"DURI" | uint32 length of header | header (JSON) | parts, each compressed by itself (zstd)

header = {"v": 1, "stage": "detect", "parts": [{"name", "size", "dtype"?, "shape"?}, …]}
         `size` is that of the compressed part; no dtype means bytes
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cramjam
import numpy as np

from pipeline.errors import StateError

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.stage import SnapshotState

FORMAT_VERSION = 1
CHUNK_BYTES = 900_000
"""Below the broker's default message limit of 1 MiB."""

_MAGIC = b"DURI"
_HEAD = struct.Struct("<4sI")
_LEVEL = 1  # state is floats: higher levels cost three times the time for a few per cent


@dataclass(frozen=True, slots=True)
class EncodedSnapshot:
    """A snapshot ready to be written: `offset` is that of the first input record it has not seen."""

    offset: int
    chunks: tuple[bytes, ...]
    size: int
    sha256: str


def encode_snapshot(stage: str, offset: int, state: SnapshotState) -> EncodedSnapshot:
    """Compress and cut a state. Takes CPU time: call it in a thread. Raises StateError as encode_state does."""
    data = encode_state(stage, state)
    chunks = tuple(data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES))
    return EncodedSnapshot(offset, chunks, len(data), hashlib.sha256(data).hexdigest())


def encode_state(stage: str, state: SnapshotState) -> bytes:
    """The state as one string. Raises StateError for arrays of objects or structures."""
    described: list[dict[str, Any]] = []
    buffers: list[memoryview] = []
    for name, part in state.items():
        # One call a part: only the one-shot compressor lets go of the interpreter's lock.
        buffer = memoryview(cramjam.zstd.compress(_raw(name, part), level=_LEVEL))
        buffers.append(buffer)
        described.append(_describe(name, part, buffer.nbytes))
    header = json.dumps({"v": FORMAT_VERSION, "stage": stage, "parts": described}).encode()
    return b"".join([_HEAD.pack(_MAGIC, len(header)), header, *buffers])


def decode_state(stage: str, data: bytes) -> dict[str, npt.NDArray[np.generic] | bytes]:
    """The state again, in arrays of its own. Raises StateError where the bytes are not this stage's snapshot."""
    try:
        magic, length = _HEAD.unpack_from(data)
        if magic != _MAGIC:
            raise StateError(f"snapshot of {stage} starts with {magic!r}, not {_MAGIC!r}")
        start = _HEAD.size + length
        header = json.loads(data[_HEAD.size : start])
        _check(stage, header)
        return _parts(header["parts"], memoryview(data)[start:])
    except (cramjam.DecompressionError, struct.error, ValueError, TypeError, KeyError) as error:
        raise StateError(f"snapshot of {stage} is damaged: {error}") from error


def _check(stage: str, header: dict[str, Any]) -> None:
    if header["v"] != FORMAT_VERSION:
        raise StateError(f"snapshot of {stage} has format {header['v']}, this program reads {FORMAT_VERSION}")
    if header["stage"] != stage:
        raise StateError(f"snapshot is of stage {header['stage']}, not of {stage}")


def _parts(described: list[dict[str, Any]], body: memoryview) -> dict[str, npt.NDArray[np.generic] | bytes]:
    state: dict[str, npt.NDArray[np.generic] | bytes] = {}
    at = 0
    for part in described:
        raw = memoryview(cramjam.zstd.decompress(body[at : at + part["size"]]))
        at += part["size"]
        if "dtype" in part:
            # Stages write into what they restore: give them memory of their own.
            state[part["name"]] = np.frombuffer(raw, dtype=part["dtype"]).reshape(part["shape"]).copy()
        else:
            state[part["name"]] = bytes(raw)
    if at != len(body):
        raise StateError(f"snapshot has {len(body)} bytes of state where its header says {at}")
    return state


def _raw(name: str, part: npt.NDArray[np.generic] | bytes) -> memoryview:
    if isinstance(part, bytes):
        return memoryview(part)
    if part.dtype.hasobject or part.dtype.names is not None:
        raise StateError(f"state {name!r} is an array of {part.dtype}; give numbers, dates, text or bytes")
    # The view as bytes exists for every dtype (dates too) and for empty arrays.
    return np.ascontiguousarray(part).reshape(-1).view(np.uint8).data


def _describe(name: str, part: npt.NDArray[np.generic] | bytes, size: int) -> dict[str, Any]:
    if isinstance(part, bytes):
        return {"name": name, "size": size}
    return {"name": name, "size": size, "dtype": part.dtype.str, "shape": list(part.shape)}
