"""How a backtest is divided: services into groups that know nothing of each other, time into chunks and slices.

Nothing that is published depends on the division. Detect judges each service by itself; a group's clock moves by
ticks at the end of every slice, whatever its own services say; and the offset of a record is its slice's number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pipeline.offline.dataset.tables import Table
from pipeline.offline.dataset.times import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.offline.dataset.manifest import Manifest

SLICE_MS: Final = 1_800_000
"""Event time that one message covers; as short as a producer's burst, as long as a poll is worth its while."""
_CHUNK_ROWS: Final = 2_000_000
"""Samples of a group that are in memory at once."""
_CHUNK_FRAMES: Final = 40_000
"""Frames of all groups that are in memory at once."""
_DAY_MS: Final = 86_400_000


class Group(NamedTuple):
    """Services of these buckets, which run together."""

    number: int
    buckets: tuple[int, ...]


def groups(manifest: Manifest, wanted: int) -> list[Group]:
    """At most so many groups of about equally many samples; fewer where fewer buckets have any."""
    rows: dict[int, int] = {}
    for file in manifest.of(Table.SAMPLES):
        rows[file.bucket] = rows.get(file.bucket, 0) + file.rows
    loads = [0] * max(1, min(wanted, len(rows)))
    members: list[list[int]] = [[] for _ in loads]
    # The largest first, each to whoever has least.
    for bucket in sorted(rows, key=lambda bucket: (-rows[bucket], bucket)):
        least = int(np.argmin(loads))
        loads[least] += rows[bucket]
        members[least].append(bucket)
    return [Group(number, tuple(sorted(buckets))) for number, buckets in enumerate(members)]


def chunks(span: Span, rows_of_a_group: int, services: int, frame_ms: int) -> Sequence[Span]:
    """The span in pieces of whole slices, a day at most, each small enough to be in memory."""
    begin, end = span.start // SLICE_MS * SLICE_MS, -(-span.end // SLICE_MS) * SLICE_MS
    slices = (end - begin) // SLICE_MS
    by_rows = _CHUNK_ROWS * slices // max(rows_of_a_group, 1)
    by_frames = _CHUNK_FRAMES * frame_ms // (max(services, 1) * SLICE_MS)
    step = max(1, min(by_rows, by_frames, _DAY_MS // SLICE_MS)) * SLICE_MS
    return [Span(at, min(at + step, end)) for at in range(begin, end, step)]
