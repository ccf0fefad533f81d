"""The detect stage: `duri.samples` in, anomalies and frames out, on event time alone.

A frame closes when the watermark (see `pipeline.detect.watermark`) is past its end by the permitted lateness; samples
of later frames that are here already wait. Ticks move the watermark on when data stops.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from pipeline.batch import ARRIVAL_HEADER, ARROW_CONTENT_TYPE, SOURCE_HEADER, decode_batch
from pipeline.detect.anomalies.lifecycle import Anomalies
from pipeline.detect.anomalies.reports import anomaly_output
from pipeline.detect.closing import FrameCloser
from pipeline.detect.frames import Source
from pipeline.detect.intake import Intake, Rows
from pipeline.detect.raw import RawAnomalies, key_of
from pipeline.detect.registry import SeriesRegistry
from pipeline.detect.trained.models import TrainedModels
from pipeline.detect.trained.moves import ModelDesk
from pipeline.detect.watermark import SourceClocks
from pipeline.errors import StateError
from pipeline.records import (
    PART_TYPE,
    Anomaly,
    ModelMove,
    SourceIdle,
    Tick,
    Watermark,
    cloudevent_headers,
    content_id,
    from_ms,
    to_ms,
)
from pipeline.signals.advance import TALLIES
from pipeline.stage import Output, Topic, header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.detect.configuration import DetectConfiguration
    from pipeline.stage import InputRecord, SnapshotState

MODEL_VERSION = "bank.1"
_STATE_VERSION = 2
_TICK_TYPE = Tick.event_type().encode()
_IDLE_TYPE = SourceIdle.event_type().encode()
_MOVE_TYPE = ModelMove.event_type().encode()
_PART_TYPE = PART_TYPE.encode()


class DetectStage:
    """Learns and flags everything of one partition of `duri.samples`."""

    name = "detect"

    def __init__(
        self,
        configuration: DetectConfiguration,
        *,
        input_topic: str,
        partition: int,
        sources: Sequence[str],
        frames_partitions: int = 1,
    ) -> None:
        settings = configuration.settings
        self._plan = configuration.plan()
        self._topic = input_topic
        self._partition = partition
        self._frames_partitions = frames_partitions
        self._frame_ms = configuration.frame_ms
        self._lateness_ms = round(settings.lateness_s * 1000)
        self._tick_hold_ms = round(settings.tick_hold_s * 1000)
        self._max_waiting = settings.max_waiting_samples
        trained = TrainedModels(configuration.definitions.signals, configuration.frame_ms)
        self._anomalies = Anomalies(configuration.lifecycle, MODEL_VERSION, trained.ranking.rank)
        self._registry = SeriesRegistry(configuration)
        self._closer = FrameCloser(configuration, self._registry, self._anomalies, trained)
        self._desk = ModelDesk(trained, partition)
        self._raw = RawAnomalies(self._registry, self._anomalies)
        self._clocks = SourceClocks(sources)
        self._intake = Intake(configuration.frame_ms)
        self._ticking = False
        self._counts: Counter[str] = Counter()

    # --- the log ----------------------------------------------------------------------------------------------

    def step(self, records: Sequence[InputRecord]) -> list[Output]:
        """What these records cause: anomalies' state changes, frames, watermarks."""
        outputs: list[Output] = []
        for record in records:
            if header(record, "content-type") == ARROW_CONTENT_TYPE.encode():
                self._read(record)
            else:
                outputs.extend(self._control(record))
            outputs.extend(self._close_due(record.offset))
        outputs.extend(self._take())
        return outputs

    def _read(self, record: InputRecord) -> None:
        try:
            batch = decode_batch(record.value or b"")
            arrival = int(header(record, ARRIVAL_HEADER) or record.timestamp)
        except ValueError:
            self._counts["malformed_records_total"] += 1
            return
        if not len(batch):
            return
        source = (header(record, SOURCE_HEADER) or b"").decode("utf-8", "replace")
        self._intake.add(Rows(batch, np.full(len(batch), record.offset, dtype=np.int64)))
        self._clocks.observe(source, int(batch.ts.max()), arrival)
        self._ticking = False

    def _control(self, record: InputRecord) -> Iterator[Output]:
        event_type = header(record, "ce_type")
        try:
            if event_type == _IDLE_TYPE:
                self._clocks.rest(SourceIdle.model_validate_json(record.value or b"").source)
            elif event_type == _TICK_TYPE:
                self._clocks.advance(to_ms(Tick.model_validate_json(record.value or b"").at))
                self._ticking = True
            elif event_type == _PART_TYPE:
                self._desk.bring(record)
            elif event_type == _MOVE_TYPE:
                yield from self._desk.take(record)
            else:
                # Feedback and maintenance windows come to every partition; nothing here needs them yet.
                self._counts["control_records_total"] += 1
        except ValueError:
            self._counts["malformed_records_total"] += 1
        if event_type == _IDLE_TYPE and self._clocks.nothing:
            yield from self._to_all_frames(SourceIdle(source=f"{self._topic}/{self._partition}"), record.timestamp)

    def tick(self, elapsed_ms: int) -> Sequence[Output]:
        """Event time moves on by the time that passed; the first time less a hold: slow producers are not silent."""
        at = self._clocks.watermark + elapsed_ms - (0 if self._ticking else self._tick_hold_ms)
        if self._intake.start is None or at <= self._clocks.watermark:
            return ()
        identity = content_id("tick", self._partition, at)
        return [
            Output(
                topic=Topic.SAMPLES,
                value=Tick(at=from_ms(at)).model_dump_json().encode(),
                timestamp=at,
                headers=cloudevent_headers(Tick.event_type(), f"/detect/{self._partition}", identity, at),
                partition=self._partition,
            )
        ]

    def until_frame_closes(self) -> int:
        """Silence (ms) after which a tick would close all frames that have samples: for the end of recorded data."""
        if self._intake.start is None:
            return 0
        due: int = max(self._intake.end, self._intake.last_waiting) + self._lateness_ms
        return max(0, due - self._clocks.watermark) + self._tick_hold_ms

    # --- event time -------------------------------------------------------------------------------------------

    def _take(self) -> Iterator[Output]:
        """Let the samples that need not wait into their series."""
        rows = self._intake.take()
        if rows is None:
            return
        batch = rows.batch
        slots = self._registry.resolve(batch)
        watched = self._registry.store.advance(slots, batch.ts, batch.value, self._intake.end - self._frame_ms)
        for anomaly in self._raw.judge(slots, batch.ts, watched, lambda row: self._source(int(rows.offset[row]))):
            yield self._report(anomaly, to_ms(anomaly.last_at))

    def _source(self, offset: int) -> Source:
        return Source(self._topic, self._partition, offset)

    def _close_due(self, offset: int) -> Iterator[Output]:
        """Close every frame that the watermark is past, or that must close because too many samples wait."""
        intake = self._intake
        if intake.start is None:
            return
        while self._clocks.watermark >= intake.end + self._lateness_ms or intake.waiting_rows > self._max_waiting:
            self._counts["forced_frames_total"] += self._clocks.watermark < intake.end + self._lateness_ms
            yield from self._take()
            yield from self._close(intake.start, intake.end, offset)
            # Where no service is left there is nothing to say until the next sample.
            intake.open_next(intake.end if len(self._registry.services) else self._clocks.watermark - self._lateness_ms)

    def _close(self, start: int, end: int, offset: int) -> Iterator[Output]:
        for output in self._closer.close(start, end, self._source(offset)):
            if isinstance(output, Anomaly):
                yield self._report(output, end)
            else:
                self._counts["frames_total"] += 1
                yield output
        yield from self._desk.tallies()
        yield from self._desk.drifted()
        yield from self._let_go(end)
        self._registry.store.begin_frame()
        yield from self._watermarks(end)

    def _let_go(self, end: int) -> Iterator[Output]:
        departed = self._registry.let_go(end)
        keys = [key_of(series) for series in departed.series]
        keys += [key for service, _ in departed.services for key in self._anomalies.keys_of(service)]
        for key in dict.fromkeys(keys):
            anomaly = self._anomalies.gone(key, end)
            if anomaly is not None:
                yield self._report(anomaly, end)
        self._closer.forget([row for _, row in departed.services])

    def _watermarks(self, until: int) -> Iterator[Output]:
        arrival = from_ms(self._clocks.arrival)
        return self._to_all_frames(
            Watermark(source_partition=self._partition, until=from_ms(until), arrival=arrival), until
        )

    def _to_all_frames(self, record: Watermark | SourceIdle, at: int) -> Iterator[Output]:
        """The record (of event time `at`, ms) for every partition of `duri.frames`."""
        identity = content_id(record.kind_name, self._partition, at)
        for partition in range(self._frames_partitions):
            yield Output(
                topic=Topic.FRAMES,
                value=record.model_dump_json().encode(),
                timestamp=at,
                headers=cloudevent_headers(record.event_type(), f"/detect/{self._partition}", identity, at),
                partition=partition,
            )

    # --- state ------------------------------------------------------------------------------------------------

    def _report(self, anomaly: Anomaly, at: int) -> Output:
        self._counts[f'anomalies_total{{state="{anomaly.state}",severity="{anomaly.severity}"}}'] += 1
        return anomaly_output(anomaly, at)

    def statistics(self) -> Mapping[str, float]:
        """Samples by what became of them, series, services, open anomalies, anomaly records, frames."""
        tally = dict(zip(TALLIES, self._registry.store.tally.tolist(), strict=True))
        return {
            "detect_samples_total": float(tally["accepted"]),
            **{f"{name}_samples_total": float(count) for name, count in tally.items() if name != "accepted"},
            "series": float(len(self._registry.store)),
            "watched_series": float(len(self._registry.watched)),
            "series_refused_total": float(self._registry.refused),
            "services": float(len(self._registry.services)),
            "anomalies_open": float(len(self._anomalies)),
            "anomalies_refused_total": float(self._anomalies.refused),
            **self._closer.statistics(),
            **self._desk.statistics(),
            **{name: float(count) for name, count in self._counts.items()},
        }

    def snapshot(self) -> SnapshotState:
        """Copy of the whole state."""
        meta = {
            "version": _STATE_VERSION,
            "plan": self._plan,
            "clocks": self._clocks.snapshot(),
            "frame_start": self._intake.start,
            "ticking": self._ticking,
            # By name: in the order in which they first counted they would tell how the log was cut.
            "counts": dict(sorted(self._counts.items())),
            "registry": self._registry.snapshot(),
        }
        state: dict[str, Any] = {"meta": msgspec.msgpack.encode(meta), "anomalies": self._anomalies.snapshot()}
        for prefix, part in (*self._parts().items(), ("waiting", self._intake)):
            state.update({f"{prefix}.{name}": value for name, value in part.snapshot().items()})
        return state

    def restore(self, state: SnapshotState) -> None:
        """Become the stage that gave this snapshot. Raises StateError where it does not fit."""
        try:
            meta = msgspec.msgpack.decode(bytes(state["meta"]))
            if meta["version"] != _STATE_VERSION:
                raise StateError(f"detect snapshot has version {meta['version']}, this program reads {_STATE_VERSION}")
            self._check_plan(meta["plan"])
            for prefix, part in self._parts().items():
                dot = f"{prefix}."
                part.restore({name.removeprefix(dot): value for name, value in state.items() if name.startswith(dot)})
            self._anomalies.restore(bytes(state["anomalies"]))
            self._registry.restore(meta["registry"])
            self._closer.attach_all()
            waiting = {name.removeprefix("waiting."): v for name, v in state.items() if name.startswith("waiting.")}
            self._intake.restore(meta["frame_start"], waiting)
            self._clocks.restore(meta["clocks"])
        except (ValueError, KeyError) as error:
            raise StateError(f"detect snapshot of partition {self._partition}: {error!r}") from error
        self._ticking = meta["ticking"]
        self._counts = Counter(meta["counts"])

    def _check_plan(self, theirs: Mapping[str, object]) -> None:
        """Refuse state by column number that was kept under other columns."""
        for name, ours in self._plan.items():
            if theirs[name] != ours:
                raise StateError(
                    f"detect snapshot of partition {self._partition} was taken with {name} {theirs[name]}, "
                    f"now it is {ours}"
                )

    def _parts(self) -> dict[str, Any]:
        return {"store": self._registry.store, "watched": self._registry.watched, "closer": self._closer}
