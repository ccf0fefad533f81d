"""How far a partition has been processed, and where its state is: what a commit stores beside the offset.

The broker keeps a string with every committed offset. Ours is JSON of a few hundred bytes:

    {"v": 1, "s": {"o": …, "p": …, "f": …, "l": …, "n": …, "b": …, "h": …}}

so recovery reads one committed offset and knows everything; nothing is ever searched for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from pipeline.errors import StateError

METADATA_VERSION = 1


@dataclass(frozen=True, slots=True)
class SnapshotPointer:
    """Where a snapshot lies in the state topic, and which input offset it belongs to."""

    offset: int
    """Input offset of the first record that the snapshot has not seen."""
    partition: int
    """Partition of the state topic."""
    first: int
    """Offset of the first chunk there."""
    last: int
    """Offset of the last chunk there."""
    chunks: int
    size: int
    """Bytes of all chunks together."""
    sha256: str


@dataclass(frozen=True, slots=True)
class Position:
    """How far one input partition has been processed: `offset` is that of the next record."""

    offset: int
    snapshot: SnapshotPointer | None = None

    def metadata(self) -> str:
        """What is stored beside the offset."""
        fields: dict[str, object] = {"v": METADATA_VERSION}
        if (at := self.snapshot) is not None:
            fields["s"] = {
                "o": at.offset,
                "p": at.partition,
                "f": at.first,
                "l": at.last,
                "n": at.chunks,
                "b": at.size,
                "h": at.sha256,
            }
        return json.dumps(fields, separators=(",", ":"))


def parse_position(offset: int, metadata: str) -> Position:
    """The position that was committed; one without metadata was set by a person's tool and has no snapshot.

    Raises StateError where the metadata is not ours or of a later version.
    """
    if not metadata:
        return Position(offset)
    try:
        fields = json.loads(metadata)
        version = fields["v"]
        at = fields.get("s")
        pointer = at and SnapshotPointer(
            offset=int(at["o"]),
            partition=int(at["p"]),
            first=int(at["f"]),
            last=int(at["l"]),
            chunks=int(at["n"]),
            size=int(at["b"]),
            sha256=str(at["h"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StateError(
            f"metadata of the committed offset {offset} is not this program's: {metadata[:80]!r}"
        ) from error
    if version != METADATA_VERSION:
        raise StateError(
            f"metadata of the committed offset {offset} has version {version}, this program reads {METADATA_VERSION}"
        )
    return Position(offset, pointer)
