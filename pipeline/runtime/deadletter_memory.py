"""Which dead letters were dealt with (sent back, or purged), where Kafka itself remembers: as a group's offset.

Below the offset all letters were; above it, those of some reasons up to further offsets, and single ones, which are the
offset's metadata.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiokafka.structs import OffsetAndMetadata

from pipeline.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.runtime.deadletter_letter import Letter

MAX_SINGLES = 200
"""Letters dealt with one by one that are remembered: the broker takes 4 KB of metadata."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant: all, those of a reason, or the one at (partition, offset).

    Whether a letter was replayed is not in the letter: `again` and `replayed` are for who knows the memory.
    """

    reason: str | None = None
    single: tuple[int, int] | None = None
    again: bool = False
    """Also those that were replayed before."""
    replayed: bool = False
    """Only those that were replayed before."""

    def takes(self, letter: Letter) -> bool:
        """Whether the letter is meant."""
        if self.single is not None:
            return (letter.partition, letter.offset) == self.single
        return self.reason is None or letter.reason == self.reason


@dataclass(frozen=True, slots=True)
class Memory:
    """Letters of one partition that were dealt with: all below an offset, and above it by reason and one by one."""

    below: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    singles: frozenset[int] = frozenset()

    def has(self, letter: Letter) -> bool:
        """Whether this letter was dealt with."""
        return letter.offset < max(self.below, self.reasons.get(letter.reason, 0)) or letter.offset in self.singles

    def first(self, selection: Selection) -> int:
        """Offset from which on there may be letters to deal with."""
        if selection.single is not None:
            return selection.single[1]
        return 0 if selection.again else self.below

    def after(self, selection: Selection, position: int) -> Memory:
        """What is known once the selection is dealt with up to `position`. Raises StateError beyond MAX_SINGLES."""
        below, reasons, singles = self.below, dict(self.reasons), set(self.singles)
        if selection.single is not None:
            singles.add(selection.single[1])
        elif selection.reason is not None:
            reasons[selection.reason] = max(position, reasons.get(selection.reason, 0))
        else:
            below = max(position, below)
        singles = {offset for offset in singles if offset >= below}
        if len(singles) > MAX_SINGLES:
            raise StateError(
                f"{MAX_SINGLES} letters were chosen one by one, and no more are remembered; "
                "take the rest with --all or --reason"
            )
        reasons = {reason: offset for reason, offset in reasons.items() if offset > below}
        return Memory(below, reasons, frozenset(singles))

    def joined(self, other: Memory) -> Memory:
        """What either has dealt with. Raises StateError beyond MAX_SINGLES."""
        memory = Memory(self.below, self.reasons, self.singles | other.singles).after(Selection(), other.below)
        for reason, offset in other.reasons.items():
            memory = memory.after(Selection(reason), offset)
        return memory

    def stored(self) -> OffsetAndMetadata:
        """As it is committed."""
        above = {"reasons": dict(self.reasons), "singles": sorted(self.singles)}
        return OffsetAndMetadata(self.below, json.dumps(above, separators=(",", ":")))


def read_memory(stored: OffsetAndMetadata | None, group: str) -> Memory:
    """The memory again; an offset that somebody set by hand counts too. Raises StateError for foreign metadata."""
    if stored is None:
        return Memory()
    try:
        above = json.loads(stored.metadata or "{}")
        return Memory(stored.offset, dict(above.get("reasons", {})), frozenset(above.get("singles", ())))
    except (ValueError, AttributeError, TypeError) as error:
        raise StateError(
            f"what group {group} has committed is not of `duri deadletter`: {stored.metadata!r}; "
            "delete the group to forget it"
        ) from error
