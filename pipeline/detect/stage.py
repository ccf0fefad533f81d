"""The detect stage: `duri.samples` in, anomalies and frames out, on event time alone.

The watermark is the newest event time in the partition. A frame closes when the watermark is past its end by the
permitted lateness; samples of the next frame that come before that wait. Ticks move the watermark when data stops.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from pipeline.batch import ARROW_CONTENT_TYPE, SampleBatch, concatenate, decode_batch, encode_batch
from pipeline.detect.closing import FrameCloser
from pipeline.detect.frames import Source
from pipeline.detect.lifecycle import Anomalies
from pipeline.detect.raw import RawAnomalies, key_of
from pipeline.detect.registry import SeriesRegistry
from pipeline.detect.reports import anomaly_output
from pipeline.errors import StateError
from pipeline.records import Tick, Watermark, cloudevent_headers, content_id, from_ms, to_ms
from pipeline.signals.advance import TALLIES
from pipeline.stage import Output, Topic, header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from pipeline.detect.configuration import DetectConfiguration
    from pipeline.records import Anomaly
    from pipeline.stage import InputRecord, SnapshotState

MODEL_VERSION = "bank.1"
_STATE_VERSION = 1
_TICK_TYPE = Tick.event_type().encode()


class _Rows:
    """Samples with the offset of the record that each came in; offset int64[n]."""

    __slots__ = ("batch", "offset")

    def __init__(self, batch: SampleBatch, offset: npt.NDArray[np.int64]) -> None:
        self.batch = batch
        self.offset = offset

    def __len__(self) -> int:
        return len(self.offset)

    def slice(self, start: int, stop: int) -> _Rows:
        batch = self.batch
        if start == 0 and stop == len(self.offset):
            return self
        part = SampleBatch(
            batch.series[start:stop], batch.ts[start:stop], batch.value[start:stop], batch.labels[start:stop]
        )
        return _Rows(part, self.offset[start:stop])

    def pick(self, mask: npt.NDArray[np.bool_]) -> _Rows:
        batch = self.batch
        part = SampleBatch(batch.series[mask], batch.ts[mask], batch.value[mask], batch.labels.filter(mask))
        return _Rows(part, self.offset[mask])


def _join(parts: Sequence[_Rows]) -> _Rows:
    if len(parts) == 1:
        return parts[0]
    return _Rows(concatenate([part.batch for part in parts]), np.concatenate([part.offset for part in parts]))


class DetectStage:
    """Learns and flags everything of one partition of `duri.samples`."""

    name = "detect"

    def __init__(
        self, configuration: DetectConfiguration, *, input_topic: str, partition: int, frames_partitions: int = 1
    ) -> None:
        settings = configuration.settings
        self._topic = input_topic
        self._partition = partition
        self._frames_partitions = frames_partitions
        self._frame_ms = configuration.frame_ms
        self._lateness_ms = round(settings.lateness_s * 1000)
        self._tick_hold_ms = round(settings.tick_hold_s * 1000)
        self._silent_ms = round(settings.series_idle_s * 1000)
        self._anomalies = Anomalies(configuration.lifecycle, MODEL_VERSION)
        self._registry = SeriesRegistry(configuration)
        self._closer = FrameCloser(configuration, self._registry, self._anomalies)
        self._raw = RawAnomalies(self._registry, self._anomalies)
        self._watermark = 0
        self._frame_start: int | None = None
        self._pending: list[_Rows] = []
        self._counts: Counter[str] = Counter()

    # --- the log ----------------------------------------------------------------------------------------------

    def step(self, records: Sequence[InputRecord]) -> list[Output]:
        """What these records cause: anomalies' state changes, frames, watermarks."""
        outputs: list[Output] = []
        rows: list[_Rows] = []
        for record in records:
            if header(record, "content-type") == ARROW_CONTENT_TYPE.encode():
                self._read(record, rows)
            else:
                outputs.extend(self._take_all(rows))
                rows = []
                outputs.extend(self._control(record))
        outputs.extend(self._take_all(rows))
        return outputs

    def _read(self, record: InputRecord, rows: list[_Rows]) -> None:
        try:
            batch = decode_batch(record.value or b"")
        except ValueError:
            self._counts["malformed_records_total"] += 1
            return
        if len(batch):
            rows.append(_Rows(batch, np.full(len(batch), record.offset, dtype=np.int64)))

    def _control(self, record: InputRecord) -> Iterator[Output]:
        if header(record, "ce_type") != _TICK_TYPE:
            # Feedback and maintenance windows are for later stages; ingest sends them to every partition.
            self._counts["control_records_total"] += 1
            return
        try:
            at = to_ms(Tick.model_validate_json(record.value or b"").at)
        except ValueError:
            self._counts["malformed_records_total"] += 1
            return
        if self._frame_start is not None and at > self._watermark:
            self._watermark = at
            yield from self._close_due(record.offset)

    def tick(self, elapsed_ms: int) -> Output | None:
        """Event time moves on by the time that passed, less a hold: producers may be slow without being silent."""
        at = self._watermark + elapsed_ms - self._tick_hold_ms
        if self._frame_start is None or at <= self._watermark:
            return None
        identity = content_id("tick", self._partition, at)
        return Output(
            topic=Topic.SAMPLES,
            value=Tick(at=from_ms(at)).model_dump_json().encode(),
            timestamp=at,
            headers=cloudevent_headers(Tick.event_type(), f"/detect/{self._partition}", identity, at),
            partition=self._partition,
        )

    # --- event time -------------------------------------------------------------------------------------------

    def _take_all(self, parts: Sequence[_Rows]) -> Iterator[Output]:
        """Take samples in order, closing frames where the watermark says so."""
        if not parts:
            return
        rows = _join(parts)
        ts = rows.batch.ts
        if self._frame_start is None:
            self._frame_start = int(ts[0]) // self._frame_ms * self._frame_ms
        newest = np.maximum.accumulate(np.maximum(ts, self._watermark))
        at = 0
        while at < len(rows):
            cut = at + int(np.searchsorted(newest[at:], self._due(), side="left"))
            yield from self._take(rows.slice(at, cut))
            if cut < len(rows):
                self._watermark = int(newest[cut])
                yield from self._close_due(int(rows.offset[cut]))
            at = cut
        self._watermark = int(newest[-1])

    def _due(self) -> int:
        """Watermark at which the open frame closes."""
        assert self._frame_start is not None  # noqa: S101  set by the first sample
        return self._frame_start + self._frame_ms + self._lateness_ms

    def _take(self, rows: _Rows) -> Iterator[Output]:
        if not len(rows):
            return
        assert self._frame_start is not None  # noqa: S101  set by the first sample
        early = rows.batch.ts >= self._frame_start + self._frame_ms
        if early.any():
            self._pending.append(rows.pick(early))
            rows = rows.pick(~early)
        batch = rows.batch
        slots = self._registry.resolve(batch)
        watched = self._registry.store.advance(slots, batch.ts, batch.value, self._frame_start)
        for anomaly in self._raw.judge(slots, batch.ts, watched, lambda row: self._source(int(rows.offset[row]))):
            self._count(anomaly)
            yield anomaly_output(anomaly, to_ms(anomaly.last_at))

    def _source(self, offset: int) -> Source:
        return Source(self._topic, self._partition, offset)

    def _close_due(self, offset: int) -> Iterator[Output]:
        """Close every frame that the watermark is past."""
        assert self._frame_start is not None  # noqa: S101  set by the first sample
        while self._watermark >= self._due():
            start, end = self._frame_start, self._frame_start + self._frame_ms
            yield from self._close(start, end, offset)
            self._frame_start = self._next_frame(end)
            pending, self._pending = self._pending, []
            for rows in pending:
                yield from self._take(rows)

    def _next_frame(self, end: int) -> int:
        """Start of the next frame; where no service is left and nothing waits, that of the watermark."""
        if len(self._registry.services) or self._pending:
            return end
        return max(end, (self._watermark - self._lateness_ms) // self._frame_ms * self._frame_ms)

    def _close(self, start: int, end: int, offset: int) -> Iterator[Output]:
        source = self._source(offset)
        for output in self._closer.close(start, end, source):
            self._counts["frames_total"] += output.topic is Topic.FRAMES
            yield output
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
                yield anomaly_output(anomaly, end)
        self._closer.forget([row for _, row in departed.services])

    def _watermarks(self, until: int) -> Iterator[Output]:
        mark = Watermark(source_partition=self._partition, until=from_ms(until))
        identity = content_id("watermark", self._partition, until)
        for partition in range(self._frames_partitions):
            yield Output(
                topic=Topic.FRAMES,
                value=mark.model_dump_json().encode(),
                timestamp=until,
                headers=cloudevent_headers(mark.event_type(), f"/detect/{self._partition}", identity, until),
                partition=partition,
            )

    # --- state ------------------------------------------------------------------------------------------------

    def _count(self, anomaly: Anomaly) -> None:
        self._counts[f'anomaly_records_total{{state="{anomaly.state}",severity="{anomaly.severity}"}}'] += 1

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
            **{name: float(count) for name, count in self._counts.items()},
        }

    def snapshot(self) -> SnapshotState:
        """Copy of the whole state."""
        meta = {
            "version": _STATE_VERSION,
            "watermark": self._watermark,
            "frame_start": self._frame_start,
            "counts": dict(self._counts),
            "registry": self._registry.snapshot(),
        }
        state: dict[str, Any] = {"meta": msgspec.msgpack.encode(meta), "anomalies": self._anomalies.snapshot()}
        for prefix, part in self._parts().items():
            state.update({f"{prefix}.{name}": value for name, value in part.snapshot().items()})
        if self._pending:
            pending = _join(self._pending)
            state["pending.batch"] = encode_batch(pending.batch)
            state["pending.offset"] = pending.offset.copy()
        return state

    def restore(self, state: SnapshotState) -> None:
        """Become the stage that gave this snapshot. Raises StateError where it does not fit."""
        try:
            meta = msgspec.msgpack.decode(state["meta"])
            if meta["version"] != _STATE_VERSION:
                raise StateError(f"detect snapshot has version {meta['version']}, this program reads {_STATE_VERSION}")
            for prefix, part in self._parts().items():
                dot = f"{prefix}."
                part.restore({name.removeprefix(dot): value for name, value in state.items() if name.startswith(dot)})
            self._anomalies.restore(bytes(state["anomalies"]))
            self._registry.restore(meta["registry"])
            if "pending.batch" in state:
                batch = decode_batch(bytes(state["pending.batch"]))
                self._pending = [_Rows(batch, np.array(state["pending.offset"], dtype=np.int64))]
        except (ValueError, KeyError) as error:
            raise StateError(f"detect snapshot of partition {self._partition}: {error!r}") from error
        self._watermark, self._frame_start = meta["watermark"], meta["frame_start"]
        self._counts = Counter(meta["counts"])

    def _parts(self) -> dict[str, Any]:
        return {"store": self._registry.store, "watched": self._registry.watched, "closer": self._closer}
