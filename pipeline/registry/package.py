"""A version packed for its way through a partition's log and into a snapshot: manifest and model file in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from pipeline.errors import ModelError
from pipeline.records import ModelPart
from pipeline.registry.artefact import load
from pipeline.registry.manifest import parse_manifest

if TYPE_CHECKING:
    from pipeline.registry.manifest import ModelManifest

PART_BYTES: Final = 262_144
"""Of a piece: well below what any topic takes as one message."""


def pack(manifest: ModelManifest, model: bytes) -> bytes:
    """Manifest and model file as one byte string."""
    return msgspec.msgpack.encode([manifest.model_dump_json().encode(), model])


def unpack(packed: bytes, place: str) -> tuple[ModelManifest, Any]:
    """The manifest, and the estimator once its hash, libraries and types are as the manifest says.

    Raises ModelError where they are not.
    """
    try:
        manifest_text, model = msgspec.msgpack.decode(packed, type=tuple[bytes, bytes])
    except msgspec.DecodeError as error:
        raise ModelError(f"{place}: is no packed model ({error}); promote it again") from error
    manifest = parse_manifest(place, manifest_text)
    return manifest, load(model, manifest, place)


def parts(name: str, version: str, packed: bytes) -> list[ModelPart]:
    """The packed version in pieces."""
    pieces = [packed[at : at + PART_BYTES] for at in range(0, len(packed), PART_BYTES)]
    return [ModelPart(name, version, number, len(pieces), piece) for number, piece in enumerate(pieces)]
