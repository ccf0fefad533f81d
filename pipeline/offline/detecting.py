"""Ingest and detect over one group of services and one chunk of time, in whatever process the backend chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import cramjam
import msgspec
import numpy as np
import pyarrow as pa

from pipeline.batch import ARRIVAL_HEADER, ARROW_CONTENT_TYPE, SampleBatch, encode_batch
from pipeline.detect.configuration import load_detection
from pipeline.detect.stage import DetectStage
from pipeline.ingest.stage import IngestStage
from pipeline.offline.dataset.reading import Dataset, Selection
from pipeline.offline.dataset.tables import Table
from pipeline.offline.findings import Written
from pipeline.offline.parts import SLICE_MS
from pipeline.records import Tick, cloudevent_headers, from_ms
from pipeline.series import SERVICE_LABEL, Kind, Series
from pipeline.stage import LogRecord, Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from pipeline.offline.dataset.times import Span
    from pipeline.offline.parts import Group
    from pipeline.settings import Settings
    from pipeline.stage import Output, SnapshotState

_COLUMNS = ["timestamp", "service", "name", "labels", "kind", "unit", "series", "value"]


class Detected(NamedTuple):
    """What a group wrote in a chunk (packed), and its state at the end of it."""

    written: bytes
    state: SnapshotState
    samples: int
    statistics: Mapping[str, float]


def detect_chunk(
    settings: Settings,
    folder: str,
    group: Group,
    chunk: Span,
    last: bool,
    before: SnapshotState | Sequence[Output],
) -> Detected:
    """Run a chunk; `last` closes the frames that are still open at its end. Raises FileError.

    `before`: the state at the end of the chunk before; at the first, what comes ahead in detect's log.
    """
    part = _Part(settings, before)
    samples = 0
    for record, count in _slices(settings, folder, group, chunk):
        part.take(record)
        samples += count
    if last:
        part.finish()
    return Detected(pack(part.written), part.stage.snapshot(), samples, part.stage.statistics())


class _Part:
    """The two stages of one group, connected."""

    def __init__(self, settings: Settings, before: SnapshotState | Sequence[Output]) -> None:
        source = f"{settings.topics.name(Topic.METRICS)}/0"
        self._topic = settings.topics.name(Topic.SAMPLES)
        self._ingest = IngestStage(settings.ingest, source=source, samples_partitions=1, gap_s=settings.detect.gap_s)
        detection = load_detection(settings.config_dir, settings.detect, partitions=1)
        self.stage = DetectStage(detection, input_topic=self._topic, partition=0, sources=[source])
        self.written: list[Written] = []
        if isinstance(before, Mapping):
            self.stage.restore(before)
        else:
            self.stage.step([self._logged(output, 0) for output in before])

    def take(self, record: LogRecord) -> None:
        """A message of samples through both stages, or a tick through the second."""
        if record.topic == self._topic:
            self._keep(self.stage.step([record]))
            return
        outputs = self._ingest.step([record])
        self._keep(output for output in outputs if output.topic is not Topic.SAMPLES)
        for output in outputs:
            if output.topic is Topic.SAMPLES:
                self._keep(self.stage.step([self._logged(output, record.offset)]))

    def finish(self) -> None:
        """Close what is still open."""
        for output in self.stage.tick(self.stage.until_frame_closes()):
            self._keep(self.stage.step([self._logged(output, 0)]))

    def _logged(self, output: Output, offset: int) -> LogRecord:
        return LogRecord(self._topic, 0, offset, output.timestamp, output.key, output.value, output.headers)

    def _keep(self, outputs: Iterator[Output] | Sequence[Output]) -> None:
        for output in outputs:
            kind = next((value for name, value in output.headers if name == "ce_type"), b"")
            self.written.append(Written(output.topic.value, output.timestamp, kind, output.value))


def pack(written: Sequence[Written]) -> bytes:
    """Records as compressed bytes, for their way between processes."""
    packed = cramjam.zstd.compress(msgspec.msgpack.encode(written), level=1)
    return bytes(packed)


def unpack(packed: bytes) -> list[Written]:
    """The records again."""
    return msgspec.msgpack.decode(bytes(cramjam.zstd.decompress(packed)), type=list[Written])


def _slices(settings: Settings, folder: str, group: Group, chunk: Span) -> Iterator[tuple[LogRecord, int]]:
    """The chunk's messages of samples, each with how many it has, and a tick after each slice."""
    samples = _Samples.read(Dataset(folder), group, chunk)
    metrics, topic = settings.topics.name(Topic.METRICS), settings.topics.name(Topic.SAMPLES)
    for begin in range(chunk.start, chunk.end, SLICE_MS):
        number, end = begin // SLICE_MS, begin + SLICE_MS
        first, after = np.searchsorted(samples.ts, (begin, end))
        if after > first:
            headers = [("content-type", ARROW_CONTENT_TYPE.encode()), (ARRIVAL_HEADER, str(end).encode())]
            value = samples.message(int(first), int(after))
            yield LogRecord(metrics, 0, number, end, None, value, headers), int(after - first)
        tick = Tick(at=from_ms(end)).model_dump_json().encode()
        headers = cloudevent_headers(Tick.event_type(), "/backtest", str(number), end)
        yield LogRecord(topic, 0, number, end, None, tick, headers), 0


class _Samples(NamedTuple):
    """n samples in order of time, those of one time in order of their series.

    which int64[n] into identity uint64[s] and canonical, ts int64[n] ms, value float64[n].
    """

    which: npt.NDArray[np.int64]
    ts: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    identity: npt.NDArray[np.uint64]
    canonical: pa.BinaryArray

    @classmethod
    def read(cls, dataset: Dataset, group: Group, chunk: Span) -> _Samples:
        """Samples of the group's services in this chunk. Raises FileError."""
        selection = Selection(buckets=group.buckets, start=chunk.start, end=chunk.end)
        batches = list(dataset.scan(Table.SAMPLES, selection, _COLUMNS))
        if not batches:
            nothing = np.zeros(0, dtype=np.int64)
            return cls(nothing, nothing, np.zeros(0), np.zeros(0, dtype=np.uint64), pa.array([], pa.binary()))
        table = pa.Table.from_batches(batches)
        ts = table["timestamp"].cast(pa.int64()).to_numpy()
        order = np.argsort(ts, kind="stable")
        numbers, first, index = np.unique(table["series"].to_numpy(), return_index=True, return_inverse=True)
        series = [_series(row) for row in table.take(pa.array(first)).to_pylist()]
        canonical = pa.array([one.canonical() for one in series], pa.binary())
        value = table["value"].to_numpy()
        return cls(index[order], ts[order], value[order], numbers.view(np.uint64), canonical)

    def message(self, begin: int, end: int) -> bytes:
        """Rows `begin` to `end` as one Arrow message for `duri.metrics`."""
        index = self.which[begin:end]
        row = np.full(len(self.identity), -1, dtype=np.int64)
        # Of several assignments to one place the last counts: the first row of a series, from behind.
        row[index[::-1]] = np.arange(len(index))[::-1]
        used = np.flatnonzero(row >= 0)
        first = row[used]
        place = np.full(len(index), -1, dtype=np.int64)
        place[first] = used
        labels = self.canonical.take(pa.array(place, mask=place < 0))
        return encode_batch(SampleBatch(self.identity[index], self.ts[begin:end], self.value[begin:end], labels))


def _series(row: Mapping[str, str]) -> Series:
    labels = msgspec.json.decode(row["labels"], type=dict[str, str])
    return Series(
        name=row["name"], labels={**labels, SERVICE_LABEL: row["service"]}, kind=Kind(row["kind"]), unit=row["unit"]
    )
