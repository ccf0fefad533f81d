"""Which series belong to a term; what they come to is reckoned in `pipeline.signals.reduction`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from pipeline.signals.aliases import Reading
    from pipeline.signals.definitions import Term


MEMBER = np.dtype(
    [
        ("slot", "i4"),
        ("service", "i4"),  # row
        ("bound", "f8"),  # a bucket's upper bound, NaN where it is none
        ("scale", "f8"),  # of values; of a bucket, its bound has it already
        ("choice", "i4"),  # one number a service and name, of whose spellings one is chosen
        ("rank", "i2"),  # of the spelling; the lowest that reports is chosen
        ("is_rate", "?"),  # a gauge whose values are the counter's rate
    ]
)
"""A series as a term reads it."""

_Entry = tuple[int, float, "Reading"]
"""Service row, the bucket's upper bound, and how the series is read."""


class Members:
    """The series of one term: slot, service row, and for histograms the bucket's upper bound.

    Kept in the order of slots, so that sums come out the same however the series arrived. Where a service sends one
    thing in several spellings, the best known one that has a sample in the frame counts.
    """

    def __init__(self, term: Term) -> None:
        self.term = term
        self._entries: dict[int, tuple[_Entry, ...]] = {}
        self._array: npt.NDArray[np.void] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, slot: int, service: int, bound: float, reading: Reading) -> None:
        """One more series, read so; `bound` is the bucket's upper bound (NaN where it is none).

        One that is read as several of the term's names counts as each.
        """
        others = (entry for entry in self._entries.get(slot, ()) if entry[2].series.name != reading.series.name)
        self._entries[slot] = (*others, (service, bound, reading))
        self._array = None

    def remove(self, slots: set[int]) -> None:
        """These series are gone."""
        gone = slots & self._entries.keys()
        for slot in gone:
            del self._entries[slot]
        if gone:
            self._array = None

    def renumber(self, slots: Mapping[int, int]) -> None:
        """Series have other slots now: the new one by the old."""
        self._entries = {slots[slot]: entries for slot, entries in self._entries.items()}
        self._array = None

    def array(self) -> npt.NDArray[np.void]:
        """The m series as rows of the member type, in ascending order of slots."""
        if self._array is None:
            choices: dict[tuple[int, str], int] = {}
            self._array = np.array(
                [
                    (
                        slot,
                        service,
                        bound * (reading.scale if bound == bound else 1.0),  # noqa: PLR0124  NaN is no bound
                        1.0 if reading.series.kind.is_bucket else reading.scale,
                        choices.setdefault((service, reading.series.name), len(choices)),
                        reading.rank,
                        reading.is_rate,
                    )
                    for slot, entries in sorted(self._entries.items())
                    for service, bound, reading in entries
                ],
                dtype=MEMBER,
            )
        return self._array
