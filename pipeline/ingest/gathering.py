"""Collects what a format of independent lines or points gives, one by one: good samples, and the pieces refused."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pipeline.errors import DecodeError
from pipeline.ingest.points import Points
from pipeline.ingest.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import msgspec
    import numpy.typing as npt

    from pipeline.ingest.points import Context

_TIMES: Final = 4
_BYTES: Final = 65_536
"""Refused pieces may have so many times the bytes of their message together, and these."""
_REASON_BYTES: Final = 256
"""Of each, for why and where: where pieces are small that is most of them."""


class Part(NamedTuple):
    """A part of a piece that cannot be read while the rest of it can: a piece with it alone, where it is, and why."""

    payload: bytes
    position: str
    error: DecodeError


class Gathering:
    """Samples of one message in the order in which they stand; 24 bytes each."""

    def __init__(self, context: Context) -> None:
        self._catalog = context.catalog
        self._limits = context.catalog.limits
        self._known = len(context.catalog)
        self._series, self._ts, self._value = array("q"), array("q"), array("d")
        self._refused: list[Refused] = []
        self._room = None if context.size is None else _TIMES * context.size + _BYTES

    def add(self, series: int, ts: int, value: float) -> None:
        """One sample: index in the catalog, ms, value."""
        self._series.append(series)
        self._ts.append(ts)
        self._value.append(value)

    def extend(self, series: npt.NDArray[np.int64], ts: npt.NDArray[np.int64], value: npt.NDArray[np.float64]) -> None:
        """Many samples."""
        self._series.frombytes(series.data.cast("B"))
        self._ts.frombytes(ts.data.cast("B"))
        self._value.frombytes(value.data.cast("B"))

    def check_series(self) -> None:
        """Raises DecodeError where the message has more new series than it may have any: they are what takes time."""
        new = len(self._catalog) - self._known
        if new > self._limits.max_series:
            self._limits.check_series(new)

    def refuse(self, payload: bytes, position: str, error: DecodeError) -> None:
        """A piece that cannot be read, as a message by itself. Raises DecodeError where there are too many.

        So it does where they would be too large together: each repeats what it stood in.
        """
        # A traceback, its own or that of what caused it, would keep a frame, and with it the message, for each.
        error.__cause__ = error.__context__ = None
        self._refused.append(Refused(payload, position, error.with_traceback(None)))
        self._limits.check_refused(self._refused)
        if self._room is not None:
            self._room -= len(payload) + _REASON_BYTES
            if self._room < 0:
                self._limits.refuse_all(self._refused)

    def points(self) -> Points:
        """All of it."""
        return Points(
            np.frombuffer(self._series, dtype=np.int64),
            np.frombuffer(self._ts, dtype=np.int64),
            np.frombuffer(self._value, dtype=np.float64),
            self._refused,
        )


def gather_points(
    points: Iterable[msgspec.Raw],
    gathered: Gathering,
    take: Callable[[bytes], Sequence[Part] | None],
    alone: bytes,
    position: str,
) -> None:
    """Read a message of JSON values that stand alone.

    `take` reads one and gives the parts of it that cannot be read, or raises DecodeError; then it is refused: `alone`
    is a message with a place (`%s`) for it, `position` names it by its number (`%d`).
    """
    for place, point in enumerate(points):
        try:
            parts = take(bytes(point)) or ()
        except DecodeError as error:
            gathered.refuse(alone % bytes(point), position % place, error)
        else:
            for part in parts:
                gathered.refuse(alone % part.payload, f"{position % place}.{part.position}", part.error)
        gathered.check_series()


class Lines:
    """A message of lines that stand alone."""

    def __init__(self, payload: bytes, gathered: Gathering, alone: Callable[[bytes], bytes]) -> None:
        """`alone` makes a message of a line."""
        self._payload = payload
        self._gathered = gathered
        self._alone = alone
        self._number, self._counted = 1, 0

    def refuse(self, at: int, error: DecodeError) -> int:
        """Refuse the line from this place up to the next line break, with its number; the place after it.

        Raises DecodeError where too many are.
        """
        self._number += self._payload.count(b"\n", self._counted, at)
        newline = self._payload.find(b"\n", at)
        end = len(self._payload) if newline < 0 else newline
        self._gathered.refuse(self._alone(self._payload[at:end]), f"line {self._number}", error)
        self._counted = at
        return end + 1

    def gather(self, take: Callable[[int], int]) -> None:
        """Read it: `take` reads what begins at a place, refuses of it what is bad, and gives the place after it."""
        at = 0
        while at < len(self._payload):
            at = take(at)
