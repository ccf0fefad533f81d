"""Whether samples arrive at all: how many, of which services, how new; and if none do, what to do next."""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from pipeline import quantities as fmt
from pipeline.records import from_ms
from pipeline.series import parse_canonical

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.batch import SampleBatch

WINDOW_S = 60.0
"""Samples are counted over so long; many services are scraped but once a minute."""
PATIENCE_S = 20.0
"""So long nothing is concluded from silence at the start: 15 s between two samples are usual."""
_LEAST_S = 10.0
"""A rate over less than this would be that of one burst."""
_NAMES_SHOWN = 3
_SERIES_KNOWN = 100_000
_SERVICES_KNOWN = 100_000
_NEW_A_BATCH = 1000


class PulseState(enum.StrEnum):
    """What is known of the samples."""

    LISTENING = "listening"
    FLOWING = "flowing"
    SILENT = "silent"
    """Nothing comes, neither messages nor samples."""
    UNREAD = "unread"
    """Messages come to `duri.metrics`, and become no samples."""


class Seen(NamedTuple):
    """What is known of the samples at a moment."""

    state: PulseState
    words: str


class Pulse:
    """Counts what arrives from `now` on, in seconds of any steady clock; bounded, whatever arrives.

    learning_s: for how long a service that is new is only learned from.
    """

    def __init__(self, now: float, learning_s: float) -> None:
        self._began = now
        self._learning_s = learning_s
        self._learning: dict[str, float] = {}
        self._counts: deque[tuple[float, int]] = deque()
        self._last: float | None = None
        self._messages: float | None = None
        self._newest = 0
        self._services: dict[str, float] = {}
        self._service_of: dict[bytes, str] = {}

    def take(self, batch: SampleBatch, now: float) -> None:
        """A message of `duri.samples` has arrived."""
        if not len(batch):
            return
        self._last = now
        self._counts.append((now, len(batch)))
        self._newest = max(self._newest, int(batch.ts.max()))
        new = 0
        for labels in batch.labels.drop_null().to_pylist():
            service = self._service_of.get(labels)
            if service is None:
                new += 1
                if new > _NEW_A_BATCH:  # those of a great many series are met again
                    continue
                service = self._remember(labels)
            self._services[service] = now
        self._forget(now)

    def frame(self, service: str, now: float, *, learned: bool) -> None:
        """A frame of a service has arrived; `learned`: of one signal at least it says what is expected."""
        if learned:
            self._learning.pop(service, None)
        elif len(self._learning) < _SERVICES_KNOWN:
            self._learning[service] = now

    def message(self, now: float) -> None:
        """Something has arrived on `duri.metrics`."""
        self._messages = now

    def seen(self, now: float) -> Seen:
        """What is known now, with the next step where samples do not come."""
        self._forget(now)
        state = self._state(now)
        return Seen(state, self._words(state, now))

    def _state(self, now: float) -> PulseState:
        if self._last is not None and now - self._last < WINDOW_S:
            return PulseState.FLOWING
        if now - self._began < PATIENCE_S:
            return PulseState.LISTENING
        fresh = self._messages is not None and now - self._messages < WINDOW_S
        return PulseState.UNREAD if fresh else PulseState.SILENT

    def _words(self, state: PulseState, now: float) -> str:
        if state is PulseState.FLOWING:
            rate = sum(count for _, count in self._counts) / max(_LEAST_S, min(WINDOW_S, now - self._began))
            newest = f"newest {from_ms(self._newest):%H:%M:%S} UTC"
            return f"{fmt.scaled(rate)} samples/s of {_named(self._services)}, {newest}{self._still_learning()}"
        if state is PulseState.LISTENING:
            return "listening for samples"
        silent = fmt.duration(now - (self._began if self._last is None else self._last))
        if state is PulseState.UNREAD:
            return (
                f"messages come to duri.metrics, but no samples of them for {silent}: "
                "`duri run` makes them, and `duri deadletter list` shows what it refuses"
            )
        return f"no samples for {silent}: publish some to duri.metrics, `duri collect host` for instance does"

    def _still_learning(self) -> str:
        if not self._learning:
            return ""
        return f"; learning what is normal for {_named(self._learning)}, {fmt.duration(self._learning_s)} each"

    def _remember(self, labels: bytes) -> str:
        if len(self._service_of) >= _SERIES_KNOWN:
            self._service_of.clear()
        service = parse_canonical(labels).service
        self._service_of[labels] = service
        return service

    def _forget(self, now: float) -> None:
        while self._counts and now - self._counts[0][0] >= WINDOW_S:
            self._counts.popleft()
        _drop_older(self._services, now - WINDOW_S)
        _drop_older(self._learning, now - self._learning_s)


def _named(services: Iterable[str]) -> str:
    """How many and the first of them; those met first stand first, so that the line is calm."""
    names = list(services)
    more = len(names) - _NAMES_SHOWN
    shown = ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{fmt.count(len(names), 'service')} ({shown})"


def _drop_older(seen: dict[str, float], moment: float) -> None:
    for name in [name for name, at in seen.items() if at <= moment]:
        del seen[name]
