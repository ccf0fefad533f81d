"""The ingest stage: no state, one message in, its samples out (or a dead letter)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import DecodeError, StateError
from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.deadletters import dead_letter, dead_piece
from pipeline.ingest.formats import AUTO, read
from pipeline.ingest.packing import Origin, pack
from pipeline.ingest.points import Context, Points
from pipeline.ingest.scanner import scan
from pipeline.records import SourceIdle, cloudevent_headers, content_id
from pipeline.stage import Output, Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from pipeline.ingest.scanner import Scanned
    from pipeline.settings import IngestSettings
    from pipeline.stage import InputRecord, SnapshotState

# From this many samples on a message's columns are arrays that are kept whole.
_MANY = 32
_ANNOUNCE_AGAIN_MS = 600_000
_LONGEST_SAMPLE = 2048
_SCANNED = (AUTO, "json")


class IngestStage:
    """Reads one partition of an input topic; writes canonical batches to `duri.samples`, and dead letters.

    How rows are grouped into messages follows the polls; the samples and their order in each output partition do not.
    """

    name = "ingest"

    def __init__(
        self, settings: IngestSettings, *, source: str, samples_partitions: int, topic_format: str = AUTO
    ) -> None:
        self._settings = settings
        self._source = source
        self._announced_ms: int | None = None
        self._newest_ms = 0
        self._partitions = samples_partitions
        self._topic_format = topic_format
        self._catalog = SeriesCatalog(settings, samples_partitions)
        self._counts: Counter[str] = Counter()

    def step(self, records: Sequence[InputRecord]) -> list[Output]:
        """Samples of these messages as outputs, and a dead letter for each that cannot be read."""
        if not records:
            return []
        if self._catalog.is_full:
            self._catalog.clear()
        arrived = np.fromiter((record.timestamp for record in records), dtype=np.int64, count=len(records))
        columns = _Columns()
        dead = list(self._read(records, arrived, columns))
        points = columns.arrays()
        self._counts["messages_total"] += len(records)
        self._counts["samples_total"] += len(points.ts)
        self._announced_ms = None
        arrival = int(arrived.max())
        self._newest_ms = max(self._newest_ms, arrival)
        return [*pack(points, Origin(self._source, arrival), self._catalog, self._partitions), *dead]

    def _read(
        self, records: Sequence[InputRecord], arrived: npt.NDArray[np.int64], columns: _Columns
    ) -> Iterator[Output]:
        """Samples of these messages into `columns`, in order; a dead letter for each that cannot be read.

        arrived int64[n]: Kafka's timestamps, ms. What the scanner knows is taken in whole runs.
        """
        scanned = scan([self._scannable(record) for record in records], self._catalog.spans)
        limits = self._catalog.limits
        ahead = scanned.ts - arrived
        known = (scanned.series >= 0) & (ahead <= limits.future_ms) & (ahead >= -limits.past_ms)
        begin = 0
        for at in np.flatnonzero(~known).tolist():
            columns.add_run(scanned, begin, at)
            begin = at + 1
            try:
                points = self._decode(records[at])
            except DecodeError as error:
                yield self._count(error, dead_letter(records[at], error, stage=self.name))
            else:
                columns.add(points)
                for piece in points.refused:
                    yield self._count(piece.error, dead_piece(records[at], piece, stage=self.name))
        columns.add_run(scanned, begin, len(records))

    def _count(self, error: DecodeError, letter: Output) -> Output:
        self._counts[f'deadletters_total{{reason="{error.reason}"}}'] += 1
        return letter

    def _scannable(self, record: InputRecord) -> bytes:
        """The message where it may be a plain JSON sample; nothing otherwise."""
        payload = record.value
        if payload is None or len(payload) > _LONGEST_SAMPLE or record.headers or self._topic_format not in _SCANNED:
            return b""
        return payload

    def _decode(self, record: InputRecord) -> Points:
        if not record.value:
            raise DecodeError("an empty message", reason="empty")
        context = Context(self._catalog, record.key, record.timestamp)
        try:
            return self._checked(read(record.value, record.headers, self._topic_format, context), context)
        except DecodeError:
            raise
        except Exception as error:  # one message must never stop a partition, whatever a decoder has overlooked
            raise DecodeError(f"{type(error).__name__}: {error}", reason="internal") from error

    def _checked(self, points: Points, context: Context) -> Points:
        """These points, if they keep to the limits. Raises DecodeError."""
        self._catalog.limits.check_refused(points.refused, nothing_else=not len(points.ts))
        if len(points.ts) >= _MANY:
            self._catalog.limits.check_series(len(np.unique(np.asarray(points.series))))
        if len(points.ts):
            context.window.check(int(np.max(points.ts)))
            context.window.check(int(np.min(points.ts)))
        return points

    def snapshot(self) -> SnapshotState:
        """Nothing: the stage has no state."""
        return {}

    def restore(self, state: SnapshotState) -> None:
        """Nothing to restore. Raises StateError for a snapshot, which cannot be this stage's."""
        if state:
            raise StateError("ingest has no state; this snapshot belongs to another stage")

    def tick(self, elapsed_ms: int) -> Sequence[Output]:
        """Say to every partition of `duri.samples` that this input is read to its end, once, and now and then again."""
        if self._announced_ms is not None and elapsed_ms - self._announced_ms < _ANNOUNCE_AGAIN_MS:
            return ()
        self._announced_ms = elapsed_ms
        idle = SourceIdle(source=self._source)
        return [
            Output(
                topic=Topic.SAMPLES,
                value=idle.model_dump_json().encode(),
                timestamp=self._newest_ms,
                headers=cloudevent_headers(
                    idle.event_type(), f"/ingest/{self._source}", content_id(self._source), self._newest_ms
                ),
                partition=partition,
            )
            for partition in range(self._partitions)
        ]

    def statistics(self) -> Mapping[str, float]:
        """`messages_total`, `samples_total`, `deadletters_total{reason=…}`."""
        return dict(self._counts)


class _Columns:
    """Collects the points of many messages; single samples in lists, larger messages as the arrays they are."""

    def __init__(self) -> None:
        self._chunks: list[Points] = []
        self._index: list[int] = []
        self._ts: list[int] = []
        self._value: list[float] = []

    def add(self, points: Points) -> None:
        if len(points.series) >= _MANY:
            self._close()
            self._chunks.append(points)
        else:
            self._index.extend(points.series)
            self._ts.extend(points.ts)
            self._value.extend(points.value)

    def add_run(self, scanned: Scanned, begin: int, end: int) -> None:
        if end > begin:
            self._close()
            self._chunks.append(Points(scanned.series[begin:end], scanned.ts[begin:end], scanned.value[begin:end]))

    def _close(self) -> None:
        if self._index:
            self._chunks.append(Points(self._index, self._ts, self._value))
            self._index, self._ts, self._value = [], [], []

    def arrays(self) -> Points:
        """All points, as arrays."""
        self._close()
        chunks = self._chunks or [Points((), (), ())]
        return Points(
            np.concatenate([np.asarray(chunk.series, dtype=np.int64) for chunk in chunks]),
            np.concatenate([np.asarray(chunk.ts, dtype=np.int64) for chunk in chunks]),
            np.concatenate([np.asarray(chunk.value, dtype=np.float64) for chunk in chunks]),
        )
