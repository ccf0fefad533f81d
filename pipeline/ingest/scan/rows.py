"""What kernels share: a message among others, and the rows that they find in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.ingest.scan.compiled import kernel
from pipeline.ingest.scan.wire import FIELDS

if TYPE_CHECKING:
    import numpy.typing as npt


class Message(NamedTuple):
    """A message among the bytes of many: from `start` to `end`, whether it has a key (1, 0), and its window, ms.

    `reset_ms` is how long before its sample a count may have begun to be told as a sample of 0.
    """

    start: int
    end: int
    is_keyed: int
    earliest: int
    latest: int
    reset_ms: int


class Rows(NamedTuple):
    """Rows that were found, and room to work in.

    found int64[3, n]: series, ts in ms, and the bits of the float64 value (a NaN keeps its payload); used int64[1]: how
    many. fields int64[FIELDS, 2], spans int64[4] and numbers float64[4] serve one sample; symbols int64[m, 2] and
    scratch uint8[m] the table of a request.
    """

    found: npt.NDArray[np.int64]
    used: npt.NDArray[np.int64]
    fields: npt.NDArray[np.int64]
    spans: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.float64]
    symbols: npt.NDArray[np.int64]
    scratch: npt.NDArray[np.uint8]


def make_rows(capacity: int, text_bytes: int) -> Rows:
    """Room for so many rows, found in so many bytes. What is not used costs no memory."""
    return Rows(
        found=np.empty((3, capacity), dtype=np.int64),
        used=np.zeros(1, dtype=np.int64),
        fields=np.zeros((FIELDS, 2), dtype=np.int64),
        spans=np.zeros(4, dtype=np.int64),
        numbers=np.zeros(4),
        symbols=np.empty((text_bytes // 2 + 1, 2), dtype=np.int64),
        scratch=np.empty(text_bytes + 1, dtype=np.uint8),
    )


@kernel
def message_at(places: npt.NDArray[np.int64], at: int) -> Message:
    """One of the messages; places int64[n, 5]: where each ends, then as in `Message`."""
    start = 0 if at == 0 else places[at - 1, 0]
    return Message(start, places[at, 0], places[at, 1], places[at, 2], places[at, 3], places[at, 4])


@kernel
def note(rows: Rows, results: npt.NDArray[np.int64], at: int, is_taken: bool) -> None:
    """Note of a message whether it was taken, or take its rows back; results int64[n, 2]: end of its rows, taken."""
    if not is_taken:
        rows.used[0] = 0 if at == 0 else results[at - 1, 0]
    results[at, 0] = rows.used[0]
    results[at, 1] = is_taken


@kernel
def add(rows: Rows, series: int, ts: int, bits: int) -> bool:
    """One more row; False where there is no room."""
    at = rows.used[0]
    if at >= rows.found.shape[1]:
        return False
    rows.found[0, at] = series
    rows.found[1, at] = ts
    rows.found[2, at] = bits
    rows.used[0] = at + 1
    return True


@kernel
def starts_here(start: int, ts: int, message: Message) -> bool:
    """Whether a count that began at `start` is also 0 at that time (see `pipeline.ingest.rows`)."""
    return start > 0 and start < ts and ts - start <= message.reset_ms and start >= message.earliest


@kernel
def bits_of(value: float) -> int:
    """The bits of a float64."""
    return int(np.float64(value).view(np.int64))
