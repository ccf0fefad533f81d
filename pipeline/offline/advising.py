"""Advise over what the groups of a backtest have found, interval by interval, as one partition would have given it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipeline.advise import load_advice
from pipeline.advise.stage import AdviseStage
from pipeline.offline.dataset.reading import Dataset, Selection
from pipeline.offline.dataset.tables import Table
from pipeline.records import (
    ChangeEvent,
    Feedback,
    Frame,
    MaintenanceWindow,
    Watermark,
    cloudevent_headers,
    content_id,
    from_ms,
)
from pipeline.stage import LogRecord, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pipeline.offline.dataset.times import Span
    from pipeline.offline.findings import Written
    from pipeline.settings import Settings
    from pipeline.stage import Output

_CONTROL = ((Table.CHANGES, ChangeEvent), (Table.FEEDBACK, Feedback), (Table.MAINTENANCE, MaintenanceWindow))
_FRAME = Frame.event_type().encode()


class Said(NamedTuple):
    """When something was said on `duri.control` (ms), its type and its bytes."""

    at: int
    event_type: bytes
    value: bytes


def said(dataset: Dataset, span: Span) -> list[Said]:
    """Changes, answers and maintenance windows of this time, in its order. Raises FileError."""
    found: list[Said] = []
    for table, kind in _CONTROL:
        rows = dataset.read(table, Selection(start=span.start, end=span.end), ["timestamp", "record"])
        at = rows["timestamp"].dt.as_unit("ms").astype("int64").tolist()
        event_type = kind.event_type().encode()
        found += [Said(ms, event_type, text.encode()) for ms, text in zip(at, rows["record"], strict=True)]
    return sorted(found)


class Advising:
    """The advise stage, fed with frames in order of time and with what people said at that time."""

    def __init__(self, settings: Settings, control: Sequence[Said]) -> None:
        catalogue, topology = load_advice(settings.config_dir)
        self._topic = settings.topics.name(Topic.FRAMES)
        self._control = list(reversed(control))
        self._offset = 0
        self._stage = AdviseStage(
            settings.advise,
            catalogue,
            topology,
            frame_s=settings.detect.frame_s,
            input_topic=self._topic,
            partition=0,
            sources=1,
        )

    def take(self, frames: Iterable[Written]) -> Iterator[Output]:
        """Take frames that come after all that came before; what they cause."""
        waiting: list[LogRecord] = []
        end = None
        for frame in sorted(frames, key=lambda frame: frame.at):
            if end is not None and frame.at > end:
                yield from self._close(waiting, end)
                waiting = []
            end = frame.at
            waiting.append(self._record(frame.at, _FRAME, frame.value))
        if end is not None:
            yield from self._close(waiting, end)

    def _close(self, frames: list[LogRecord], end: int) -> Iterator[Output]:
        """One interval: what was said before its end, its frames, and that they are all."""
        records = []
        while self._control and self._control[-1].at <= end:
            at, event_type, value = self._control.pop()
            records.append(self._record(at, event_type, value))
        until = from_ms(end)
        mark = Watermark(source_partition=0, until=until, arrival=until).model_dump_json().encode()
        records += [*frames, self._record(end, Watermark.event_type().encode(), mark)]
        yield from self._stage.step(records)

    def _record(self, at: int, event_type: bytes, value: bytes) -> LogRecord:
        self._offset += 1
        headers = cloudevent_headers(event_type.decode(), "/backtest", content_id(at, self._offset), at)
        return LogRecord(self._topic, 0, self._offset, at, None, value, headers)

    def statistics(self) -> Mapping[str, float]:
        """The stage's counts and levels."""
        return self._stage.statistics()
