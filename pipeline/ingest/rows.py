"""Collects samples of counts that may say when they began, and what that tells besides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.errors import DecodeError
from pipeline.ingest.gathering import Gathering
from pipeline.series import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.ingest.points import Context

CUMULATIVE: Final = (Kind.COUNTER, Kind.BUCKET)


class Rows(Gathering):
    """Samples in order.

    A cumulative count that says when it began is also 0 at that time: so a reset is seen even where the new count has
    already passed the old one, and what a new process counts first is not lost. Where that start is known already the
    additional 0 is a late sample, and detect drops it. No rate is taken across more than `detect.gap_s`, so a start
    that is further before its sample tells nothing, and is not said: most points have such a one.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._window = context.window
        self._reset_ms = context.catalog.limits.reset_ms

    def check_time(self, ts: int) -> None:
        """Raises DecodeError for a time (ms) that no sample may have."""
        if ts <= 0:
            raise DecodeError("a point without a time after 1970", reason="timestamp")
        self._window.check(ts)

    def add_point(
        self, series: Sequence[int], kinds: Sequence[Kind], ts: int, values: Sequence[float], start: int
    ) -> None:
        """Samples at `ts`, ms, of series that began at `start`, ms (0: nobody says)."""
        started = 0 < start < ts <= start + self._reset_ms and start >= self._window.earliest
        for index, kind, value in zip(series, kinds, values, strict=True):
            if started and kind in CUMULATIVE:
                self.add(index, start, 0.0)
            self.add(index, ts, value)
