"""The ingest stage: no state, one message in, its samples out (or a dead letter)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import StateError
from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.columns import Columns
from pipeline.ingest.formats.registry import AUTO
from pipeline.ingest.limits import GAP_S
from pipeline.ingest.packing import Origin, pack
from pipeline.ingest.reader import MessageReader
from pipeline.records import SourceIdle, cloudevent_headers, content_id
from pipeline.stage import Output, Topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.settings import IngestSettings
    from pipeline.stage import InputRecord, SnapshotState

_ANNOUNCE_AGAIN_MS = 600_000


class IngestStage:
    """Reads one partition of an input topic; writes canonical batches to `duri.samples`, and dead letters.

    How rows are grouped into messages follows the polls; the samples and their order in each output partition do not.
    """

    name = "ingest"

    def __init__(
        self,
        settings: IngestSettings,
        *,
        source: str,
        samples_partitions: int,
        topic_format: str = AUTO,
        gap_s: float = GAP_S,
    ) -> None:
        """`gap_s` is detect's: the longest interval over which a rate is taken."""
        self._source = source
        self._announced_ms: int | None = None
        self._newest_ms = 0
        self._partitions = samples_partitions
        self._catalog = SeriesCatalog(settings, samples_partitions, gap_s)
        self._reader = MessageReader(settings, self._catalog, topic_format)
        self._counts: Counter[str] = Counter()

    def step(self, records: Sequence[InputRecord]) -> list[Output]:
        """Samples of these messages as outputs, and a dead letter for each that cannot be read."""
        if not records:
            return []
        if self._catalog.is_full:
            self._catalog.clear()
        arrived = np.fromiter((record.timestamp for record in records), dtype=np.int64, count=len(records))
        columns = Columns()
        dead = []
        for letter in self._reader.read(records, arrived, columns):
            self._counts[f'deadletters_total{{reason="{letter.reason}"}}'] += 1
            dead.append(letter.output)
        points = columns.arrays()
        self._counts["messages_total"] += len(records)
        self._counts["samples_total"] += len(points.ts)
        self._announced_ms = None
        arrival = int(arrived.max())
        self._newest_ms = max(self._newest_ms, arrival)
        return [*pack(points, Origin(self._source, arrival), self._catalog, self._partitions), *dead]

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
