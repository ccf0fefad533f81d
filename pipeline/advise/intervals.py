"""Frame intervals in event-time order, out of source partitions that interleave as they like.

An interval is taken when every live source has passed it, and then its frames sorted by service. So what comes out
depends on what each source said, not on whose record came first.

1. A source is live unless it was silent while the others moved on by more than `timeout_ms` of arrival time: when
   their samples were published, or event time where that is not told. One that is behind but speaks is catching up,
   and is waited for; a replay may run through hours of event time in a second.
   A source that has said that it has nothing at all is not waited for until it has.
2. The low watermark is the least of the live sources'; intervals that end at or before it are taken in order.
3. A frame of an interval that was taken already is late: it is counted and dropped.
4. Where `capacity` frames wait, the oldest interval is taken early rather than memory given up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipeline.advise.frames import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Interval = tuple[int, list[Frame]]


class QueueState(msgspec.Struct):
    """What a queue must remember."""

    watermarks: dict[int, int] = {}
    """ms by source partition."""
    heard: dict[int, int] = {}
    """`clock` when the source was last heard, by source partition."""
    resting: list[int] = []
    """Sources that have nothing."""
    clock: int = 0
    """The newest arrival time of all sources, ms."""
    began: int | None = None
    """`clock` at the first watermark, ms."""
    taken: int | None = None
    """Number of the last interval taken: it ends at (taken + 1) · frame_ms."""
    waiting: dict[int, list[Frame]] = {}
    """Frames by interval number."""


class IntervalQueue:
    """Frames that wait for their interval to be complete.

    `sources`: how many source partitions there are (0 … sources-1), where that is known. Then the first interval
    waits for each of them too, `timeout_ms` at most; otherwise a source counts from its first record on.
    """

    def __init__(self, frame_ms: int, timeout_ms: int, capacity: int, sources: int | None = None) -> None:
        self.frame_ms = frame_ms
        self.late = 0
        self.forced = 0
        self._timeout_ms = timeout_ms
        self._capacity = capacity
        self._expected = sources or 0
        self._held = 0
        self.state = QueueState()

    @property
    def now(self) -> int:
        """End of the last interval taken, ms; 0 before the first."""
        return 0 if self.state.taken is None else (self.state.taken + 1) * self.frame_ms

    @property
    def full(self) -> bool:
        """Whether more frames wait than may."""
        return self._held > self._capacity

    @property
    def held(self) -> int:
        """Frames waiting."""
        return self._held

    @property
    def silent(self) -> int:
        """Sources waited for no longer."""
        return len(self.state.watermarks) - len(self._live())

    def add(self, frame: Frame) -> None:
        """Let the frame wait for its interval, or count it as late."""
        number = (frame.ends - 1) // self.frame_ms
        self._hear(frame.source.partition, number * self.frame_ms)
        if self.state.taken is not None and number <= self.state.taken:
            self.late += 1
            return
        self.state.waiting.setdefault(number, []).append(frame)
        self._held += 1

    def advance(self, source: int, until: int, arrival: int) -> None:
        """Take note that the source has emitted all that ends at or before `until` (ms), and when that arrived."""
        state, marks = self.state, self.state.watermarks
        if state.began is None:
            state.began = arrival
            state.heard = dict.fromkeys(state.heard, arrival)
        state.clock = max(arrival, state.clock)
        marks[source] = max(until, marks.get(source, until))
        self._hear(source, marks[source])

    def rest(self, source: int) -> None:
        """Take note that the source has nothing: nobody need wait for it until it is heard of again."""
        if source not in self.state.resting:
            self.state.resting.append(source)

    def advance_all(self, until: int) -> None:
        """Take note that event time has reached `until` (ms) for every source."""
        for source in self.state.watermarks:
            self.advance(source, until, self.state.clock)

    def take(self, idle: Callable[[], bool]) -> Iterator[Interval]:
        """Yield what is complete as (end in ms, frames sorted by service), in order.

        Empty intervals come too, for time passes in them; but while `idle()` says that passing time changes
        nothing, a run of them is skipped.
        """
        while (number := self._next(idle)) is not None:
            frames = self.state.waiting.pop(number, [])
            self._held -= len(frames)
            self.state.taken = number
            frames.sort(key=_order)
            yield (number + 1) * self.frame_ms, frames

    def restore(self, state: QueueState) -> None:
        """Go on from there."""
        self.state = state
        self._held = sum(map(len, state.waiting.values()))

    def _next(self, idle: Callable[[], bool]) -> int | None:
        oldest = min(self.state.waiting, default=None)
        if self.full:
            self.forced += 1
            return oldest
        low = self._low()
        if low is None:
            return None
        complete = low // self.frame_ms - 1
        ready = oldest if oldest is not None and oldest <= complete else None
        if self.state.taken is None:
            return ready
        if not idle():
            return self.state.taken + 1 if self.state.taken < complete else None
        if ready is None:
            self.state.taken = max(self.state.taken, complete)
        return ready

    def _hear(self, source: int, mark: int) -> None:
        self.state.watermarks.setdefault(source, mark)
        self.state.heard[source] = self.state.clock
        if source in self.state.resting:
            self.state.resting.remove(source)

    def _live(self) -> list[int]:
        state = self.state
        oldest = state.clock - self._timeout_ms
        return [mark for source, mark in state.watermarks.items() if state.heard[source] >= oldest]

    def _low(self) -> int | None:
        """Least watermark of the live sources; None while one that never spoke may still be live."""
        state = self.state
        if state.began is None:
            return None
        heard_all = all(source in state.watermarks or source in state.resting for source in range(self._expected))
        if not heard_all and state.clock - state.began < self._timeout_ms:
            return None
        return min(self._live())


def _order(frame: Frame) -> tuple[str, int, int]:
    return frame.service, frame.source.partition, frame.source.offset
