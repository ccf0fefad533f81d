"""Control records: what people and tools say on `duri.control` goes into the log of every stage that must know it.

A move of a trained model goes to every partition of `duri.samples` behind the model itself, in one transaction, so
that detect needs nothing but its log: each partition switches at the offset of its copy, and a replay does so again.
What detect says of models comes on `duri.control` too; it is for people and goes no further.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import ValidationError

from pipeline.errors import DecodeError, ModelError, StateError
from pipeline.ingest.deadletters import dead_letter
from pipeline.records import (
    ChangeEvent,
    Feedback,
    MaintenanceWindow,
    ModelAnswer,
    ModelMove,
    Muting,
    RetrainingDue,
    ShadowTally,
    cloudevent_headers,
    content_id,
    to_ms,
)
from pipeline.stage import Output, Topic, header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.records import ModelPart
    from pipeline.stage import InputRecord, SnapshotState


Control = ChangeEvent | Feedback | MaintenanceWindow | Muting | ModelMove | ModelAnswer | ShadowTally | RetrainingDue


class Courier(Protocol):
    """Fetches trained models from where they are registered."""

    def fetch(self, move: ModelMove) -> Sequence[ModelPart]:
        """The models that run after this move, in pieces. Raises ModelError where the one it is about may not run."""
        ...

    def standing(self) -> Sequence[ModelMove]:
        """The last move of every model; none where the registry cannot be read."""
        ...


class NoCourier:
    """For flows without a registry: refuses every move that needs a model."""

    def fetch(self, move: ModelMove) -> Sequence[ModelPart]:
        if move.live or move.shadow:
            raise ModelError("this flow has no registry of models")
        return ()

    def standing(self) -> Sequence[ModelMove]:
        return ()


class _Route(NamedTuple):
    record: type[Control]
    topics: tuple[Topic, ...]


_ROUTES = {
    route.record.event_type(): route
    for route in (
        _Route(ChangeEvent, (Topic.FRAMES,)),
        _Route(Feedback, (Topic.SAMPLES, Topic.FRAMES)),
        _Route(MaintenanceWindow, (Topic.SAMPLES, Topic.FRAMES)),
        _Route(Muting, (Topic.FRAMES,)),
        _Route(ModelMove, (Topic.SAMPLES,)),
        _Route(ModelAnswer, ()),
        _Route(ShadowTally, ()),
        _Route(RetrainingDue, ()),
    )
}


class ControlStage:
    """Forwards each valid control record to all partitions of the topics that need it."""

    name = "control"

    def __init__(self, *, samples_partitions: int, frames_partitions: int, courier: Courier | None = None) -> None:
        self._partitions = {Topic.SAMPLES: samples_partitions, Topic.FRAMES: frames_partitions}
        self._courier = courier or NoCourier()
        self._has_told = False
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
            control: Control = route.record.model_validate_json(record.value or b"")
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise DecodeError(f"not a {event_type}: {problems}", reason="control") from error
        self._counts[f'control_total{{type="{control.kind_name}"}}'] += 1
        if isinstance(control, ModelMove):
            yield from self._hand_out(control)
            return
        for topic in route.topics:
            yield from self._copies(control, topic)

    def _hand_out(self, move: ModelMove) -> Iterator[Output]:
        """The models of a move and then the move, to every partition; and whether they are handed out at all."""
        reason = ""
        try:
            pieces = self._courier.fetch(move)
        except ModelError as error:
            reason = str(error)
            self._counts["models_refused_total"] += 1
        else:
            for partition in range(self._partitions[Topic.SAMPLES]):
                for piece in pieces:
                    yield Output(
                        topic=Topic.SAMPLES,
                        value=piece.content,
                        timestamp=to_ms(move.at),
                        headers=piece.headers(),
                        partition=partition,
                    )
            yield from self._copies(move, Topic.SAMPLES)
        answer = ModelAnswer(
            id=content_id("model_answer", move.id),
            at=move.at,
            model=move.model,
            number=move.number,
            version=move.version,
            accepted=not reason,
            reason=reason,
        )
        yield model_output(answer, "/control")

    def _copies(self, control: Control, topic: Topic) -> Iterator[Output]:
        """The record for each partition of the topic."""
        at = to_ms(control.at)
        for partition in range(self._partitions[topic]):
            yield Output(
                topic=topic,
                value=control.model_dump_json().encode(),
                timestamp=at,
                headers=cloudevent_headers(control.event_type(), "/control", control.id, at),
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
        """Once, which models run: partitions that missed a move, or have lost their state, take them from it."""
        if self._has_told:
            return ()
        self._has_told = True
        outputs = [output for move in self._courier.standing() for output in self._hand_out(move)]
        return [output for output in outputs if output.topic is not Topic.CONTROL]

    def statistics(self) -> Mapping[str, float]:
        """`control_total{type=…}`, `models_refused_total`, `deadletters_total{reason=…}`."""
        return dict(self._counts)


def model_output(record: ModelAnswer | ShadowTally | RetrainingDue, source: str) -> Output:
    """What is said of a model, on `duri.control`."""
    at = to_ms(record.at)
    return Output(
        topic=Topic.CONTROL,
        value=record.model_dump_json().encode(),
        timestamp=at,
        key=record.model.encode(),
        headers=cloudevent_headers(record.event_type(), source, record.id, at),
    )
