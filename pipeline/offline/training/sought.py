"""What an evaluation seeks: what people and outcomes said, windows of a file, changes, or anomalies that are put in."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pipeline.errors import FileError
from pipeline.offline.dataset.labels import LabelledWindow
from pipeline.offline.dataset.tables import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from models.offline.injected import Anomaly
    from pipeline.offline.dataset.reading import Cube, Dataset
    from pipeline.offline.dataset.times import Span

CHANGE_MS: Final = 1_800_000
"""How long after a change what it did should show."""


class Source(enum.StrEnum):
    """Where events come from."""

    ANSWERS = "answers"
    WINDOWS = "windows"
    CHANGES = "changes"
    INJECTED = "injected"


class Event(NamedTuple):
    """Frames `first` up to, not including, `after` of a block's service; no signals: the whole service.

    kind is what was put in or changed, or who said it; size in mean absolute deviations, 0 where nothing was put in.
    """

    service: int
    first: int
    after: int
    signals: tuple[str, ...]
    kind: str
    size: float = 0.0


class Sought(NamedTuple):
    """Where the events of an evaluation come from, and their windows; none where they are put in."""

    source: Source
    windows: tuple[LabelledWindow, ...] = ()

    def events(self, cube: Cube, injected: Iterable[Anomaly]) -> tuple[Event, ...]:
        """The events of these services, by service and time; those that overlap are one."""
        if self.source is Source.INJECTED:
            signals = cube.signals
            return tuple(
                Event(one.service, one.first, one.after, tuple(signals[at] for at in one.signals), one.kind, one.size)
                for one in injected
            )
        return tuple(_merged(sorted(_placed(cube, self.windows))))


def sought(
    dataset: Dataset, span: Span, source: Source | None = None, windows: Sequence[LabelledWindow] = ()
) -> Sought:
    """Events within the span. Without a source: the windows given, else answers where there are any, else injected.

    Raises FileError where there are none of the source asked for.
    """
    if source is Source.INJECTED:
        return Sought(source)
    named = source or (Source.WINDOWS if windows else Source.ANSWERS)
    if named is Source.WINDOWS:
        found = list(windows)
    else:
        found = dataset.windows() if named is Source.ANSWERS else _changes(dataset)
    inside = tuple(one for one in found if one.matters and one.start < span.end and one.end > span.start)
    if inside:
        # What is answered of services that nobody has exported the frames of cannot be found in them.
        framed = set(dataset.services())
        inside = tuple(one for one in inside if one.service in framed)
    if inside:
        return Sought(named, inside)
    if source is None and not windows:
        return Sought(Source.INJECTED)
    raise FileError(
        f"{dataset.folder}: has nothing to find in {span} by {named}; choose another time, or --events injected"
    )


def _changes(dataset: Dataset) -> list[LabelledWindow]:
    table = dataset.read(Table.CHANGES, columns=["timestamp", "service", "change"])
    at = table["timestamp"].dt.as_unit("ms").astype("int64").tolist()
    rows = zip(at, table["service"].astype(str), table["change"].astype(str), strict=True)
    return [LabelledWindow(ms, ms + CHANGE_MS, service, "", True, change) for ms, service, change in rows]


def _placed(cube: Cube, windows: Iterable[LabelledWindow]) -> Iterator[Event]:
    for window in windows:
        if window.service in cube.services:
            first, after = np.searchsorted(cube.start, (window.start - cube.step_ms + 1, window.end))
            if after > first:
                signals = (window.signal,) if window.signal else ()
                yield Event(
                    cube.services.index(window.service), int(first), int(after), signals, window.source or "file"
                )


def _merged(events: Iterable[Event]) -> Iterator[Event]:
    """Several windows of a service at one time are one trouble."""
    open_: Event | None = None
    for event in events:
        if open_ is not None and event.service == open_.service and event.first < open_.after:
            signals = tuple(sorted({*open_.signals, *event.signals}))
            open_ = open_._replace(after=max(open_.after, event.after), signals=signals)
            continue
        if open_ is not None:
            yield open_
        open_ = event
    if open_ is not None:
        yield open_
