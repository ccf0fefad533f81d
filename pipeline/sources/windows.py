"""Reading a long time in pieces: short enough for the server and for memory, long enough to be quick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pipeline.sources.prometheus import TooMuchError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.sources.recording import Recording

_WANTED = 100_000
"""Samples a piece."""
_FIRST_MS = 60_000
_LEAST_MS = 1_000
_MOST_MS = 600_000
"""Event time a piece covers at most: its services arrive together, so this is how far apart they may be."""


class Reader(Protocol):
    """Where samples are read from; `PrometheusReader` is one."""

    def read(self, after_ms: int, until_ms: int) -> Recording:
        """All samples after one time up to another, in order of time."""
        ...


def read_windows(reader: Reader, after_ms: int, until_ms: int) -> Iterator[tuple[Recording, int]]:
    """(samples, the time up to which they are complete), piece by piece in order of time.

    Pieces grow and shrink with what they bring. Raises what the reader raises; TooMuchError only where even a second
    is too much.
    """
    width = _FIRST_MS
    while after_ms < until_ms:
        end = min(after_ms + width, until_ms)
        try:
            recording = reader.read(after_ms, end)
        except TooMuchError:
            if end - after_ms <= _LEAST_MS:
                raise
            width = max((end - after_ms) // 4, _LEAST_MS)
            continue
        yield recording, end
        after_ms = end
        if len(recording) < _WANTED // 2:
            width = min(width * 2, _MOST_MS)
        elif len(recording) > _WANTED:
            width = max(width // 2, _LEAST_MS)
