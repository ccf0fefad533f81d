"""Moves of trained models in a partition's log, and what the partition says of them on `duri.control`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.ingest.control import model_output
from pipeline.records import ModelAnswer, ModelMove, RetrainingDue, ShadowTally, content_id, from_ms, parse_part
from pipeline.stage import header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.detect.trained.models import TrainedModels
    from pipeline.detect.trained.seats import Seats
    from pipeline.stage import InputRecord, Output


class ModelDesk:
    """Takes moves for the trained models of one partition, and tells what became of them."""

    def __init__(self, trained: TrainedModels, partition: int) -> None:
        self._trained = trained
        self._partition = partition
        self._refused = self._due = 0

    def bring(self, record: InputRecord) -> None:
        """A piece of a model. Raises ValueError where it is none."""
        part = parse_part(header(record, "ce_subject") or b"", header(record, "duri_part") or b"", record.value or b"")
        self._trained.bring(part)

    def take(self, record: InputRecord) -> Iterator[Output]:
        """A move: from the next frame on it holds. Raises ValueError where it is none."""
        move = ModelMove.model_validate_json(record.value or b"")
        last = [self._tally(*told) for told in self._trained.tallies(of=move.model)]
        taken = self._trained.take(move)
        if taken is None:
            return
        if taken.seats_changed:
            yield from last
        self._refused += bool(taken.reason)
        answer = ModelAnswer(
            id=content_id("model_answer", move.id, self._partition),
            at=move.at,
            model=move.model,
            number=move.number,
            version=move.version,
            accepted=not taken.reason,
            reason=taken.reason,
            partition=self._partition,
            offset=record.offset,
        )
        yield model_output(answer, f"/detect/{self._partition}")

    def tallies(self) -> Iterator[Output]:
        """How versions in the shadow do, where that is due."""
        for told in self._trained.tallies():
            yield self._tally(*told)

    def drifted(self) -> Iterator[Output]:
        """Live versions whose training is due."""
        for name, version, found in self._trained.drifted():
            due = RetrainingDue(
                id=content_id("retraining_due", name, version, self._partition, found["at"]),
                model=name,
                version=version,
                partition=self._partition,
                **{**found, "at": from_ms(found["at"]), "since": from_ms(found["since"])},
            )
            self._due += 1
            yield model_output(due, f"/detect/{self._partition}")

    def statistics(self) -> dict[str, float]:
        """Moves refused, trainings that are due, agreement of versions in the shadow with the live ones."""
        # A share cannot be added up over the partitions of a worker: each has its own.
        shares = {
            f'shadow_agreement{{model="{name}",partition="{self._partition}"}}': share
            for name, share in self._trained.agreements().items()
        }
        return {"models_refused_total": float(self._refused), "retrainings_due_total": float(self._due), **shares}

    def _tally(self, name: str, seats: Seats, counts: dict[str, Any]) -> Output:
        shadow, live = seats.shadow, seats.live
        version = "" if shadow is None else shadow.version
        tally = ShadowTally(
            id=content_id("shadow_tally", name, version, self._partition, counts["at"]),
            model=name,
            shadow=version,
            live=None if live is None else live.version,
            partition=self._partition,
            **{**counts, "at": from_ms(counts["at"]), "since": from_ms(counts["since"])},
        )
        return model_output(tally, f"/detect/{self._partition}")
