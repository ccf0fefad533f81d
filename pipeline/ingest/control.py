"""Control records: what people and tools say on `duri.control` goes into the log of every stage that must know it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from pipeline.errors import DecodeError, StateError
from pipeline.ingest.deadletters import dead_letter
from pipeline.records import ChangeEvent, Feedback, MaintenanceWindow, Muting, Record, cloudevent_headers, to_ms
from pipeline.stage import Output, Topic, header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.stage import InputRecord, SnapshotState


class _Route(NamedTuple):
    record: type[ChangeEvent | Feedback | MaintenanceWindow | Muting]
    topics: tuple[Topic, ...]


_ROUTES = {
    route.record.event_type(): route
    for route in (
        _Route(ChangeEvent, (Topic.FRAMES,)),
        _Route(Feedback, (Topic.SAMPLES, Topic.FRAMES)),
        _Route(MaintenanceWindow, (Topic.SAMPLES, Topic.FRAMES)),
        _Route(Muting, (Topic.FRAMES,)),
    )
}


class ControlStage:
    """Forwards each valid control record to all partitions of the topics that need it."""

    name = "control"

    def __init__(self, *, samples_partitions: int, frames_partitions: int) -> None:
        self._partitions = {Topic.SAMPLES: samples_partitions, Topic.FRAMES: frames_partitions}
        self._counts: Counter[str] = Counter()

    def step(self, records: Sequence[InputRecord]) -> list[Output]:
        """Copies of these records, or a dead letter for each that is none."""
        outputs: list[Output] = []
        for record in records:
            try:
                outputs.extend(self._forward(record))
            except DecodeError as error:
                outputs.append(dead_letter(record, error, stage=self.name))
                self._counts[f'deadletters_total{{reason="{error.reason}"}}'] += 1
        return outputs

    def _forward(self, record: InputRecord) -> Iterator[Output]:
        event_type = (header(record, "ce_type") or b"").decode("utf-8", "replace")
        route = _ROUTES.get(event_type)
        if route is None:
            raise DecodeError(
                f"ce_type {event_type[:80]!r} is no control record; known: {', '.join(_ROUTES)}", reason="control"
            )
        try:
            control = route.record.model_validate_json(record.value or b"")
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise DecodeError(f"not a {event_type}: {problems}", reason="control") from error
        self._counts[f'control_total{{type="{control.kind_name}"}}'] += 1
        at = to_ms(control.at)
        for topic in route.topics:
            for partition in range(self._partitions[topic]):
                yield Output(
                    topic=topic,
                    value=_bytes(control),
                    timestamp=at,
                    headers=cloudevent_headers(event_type, "/control", control.id, at),
                    partition=partition,
                )

    def snapshot(self) -> SnapshotState:
        """Nothing: the stage has no state."""
        return {}

    def restore(self, state: SnapshotState) -> None:
        """Nothing to restore. Raises StateError for a snapshot, which cannot be this stage's."""
        if state:
            raise StateError("control has no state; this snapshot belongs to another stage")

    def tick(self, elapsed_ms: int) -> Sequence[Output]:  # noqa: ARG002  the contract's signature
        """Nothing: nobody waits for control records."""
        return ()

    def statistics(self) -> Mapping[str, float]:
        """`control_total{type=…}`, `deadletters_total{reason=…}`."""
        return dict(self._counts)


def _bytes(record: Record) -> bytes:
    return record.model_dump_json().encode()
