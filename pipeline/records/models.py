"""Trained models: which run, what became of being told so, and how those in the shadow do."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import AwareDatetime, Field

from pipeline.records.base import SCHEMA_VERSION, Record

PART_TYPE = f"duri.model_part.v{SCHEMA_VERSION}"
"""CloudEvents type of a piece of a model's file; its value is bytes."""

Count = Annotated[int, Field(ge=0)]


class ModelMove(Record):
    """Which versions of a trained model run from here on. On `duri.control`, and from there in every partition's log.

    What it says holds whatever was said before; an older move than the last one taken is passed over.
    """

    kind_name: ClassVar[str] = "model_move"

    id: str
    at: AwareDatetime
    model: str
    number: Annotated[int, Field(ge=1, description="Of the move in the registry's log")]
    action: Literal["shadow", "withdraw", "promote", "revert", "refuse"]
    live: str | None = Field(default=None, description="Version that raises anomalies; null: none")
    shadow: str | None = Field(default=None, description="Version that scores beside it and raises nothing")
    by: str = ""
    why: str = ""

    @property
    def version(self) -> str | None:
        """The version that the move is about."""
        return self.shadow if self.action == "shadow" else self.live


class ModelAnswer(Record):
    """What became of a move: on `duri.control`, once from who hands out models and once from every partition."""

    kind_name: ClassVar[str] = "model_answer"

    id: str
    at: AwareDatetime = Field(description="Of the move")
    model: str
    number: int
    version: str | None = None
    accepted: bool
    reason: str = Field(default="", description="Why not; what ran before goes on")
    partition: int | None = Field(default=None, description="Of `duri.samples`; null: who hands out models")
    offset: int | None = Field(default=None, description="From this record of the partition on it holds")


class ShadowTally(Record):
    """How a version in the shadow does beside the live one, in one partition, since both are there. On `duri.control`.

    Counts are of services and frames that the version could score; an episode is an alarm whose gaps are short, and it
    is lone where no other detector had anything against the service meanwhile.
    """

    kind_name: ClassVar[str] = "shadow_tally"

    id: str
    at: AwareDatetime = Field(description="Event time up to which it counts")
    model: str
    shadow: str
    live: str | None = None
    partition: int
    since: AwareDatetime = Field(description="First event time scored")
    hours: float = Field(ge=0, description="Event time in which it scored anything")
    service_days: float = Field(ge=0)
    both: Count
    only_shadow: Count
    only_live: Count
    neither: Count
    unscored: Count = Field(default=0, description="That the live version scored alone, since this one began to score")
    correlation: float | None = Field(default=None, description="Of both scores; null without a live model")
    shadow_episodes: Count
    shadow_lone: Count
    live_episodes: Count
    live_lone: Count
    other_episodes: Count = Field(default=0, description="Of all other detectors, in services that it scored")


class RetrainingDue(Record):
    """A live model's training is due: its world is no longer the one it was trained on. On `duri.control`.

    From each partition that finds it so, once a day of event time.
    """

    kind_name: ClassVar[str] = "retraining_due"

    id: str
    at: AwareDatetime = Field(description="End of the day of event time that was looked at")
    since: AwareDatetime
    model: str
    version: str
    partition: int
    reason: str
    moved: list[str] = Field(default_factory=list, description="Features that have moved, the furthest first")
    agreement: float | None = Field(
        default=None, description="Share of its alarms in that day that another detector shared; null: too few alarms"
    )
    agreement_before: float | None = Field(default=None, description="The same in the days before")


class ModelPart(NamedTuple):
    """A piece of a packed model, number `number` (from 0) of `of`, as it travels in a partition's log."""

    model: str
    version: str
    number: int
    of: int
    content: bytes

    def headers(self) -> list[tuple[str, bytes]]:
        """Kafka headers of its record."""
        return [
            ("ce_specversion", b"1.0"),
            ("ce_type", PART_TYPE.encode()),
            ("ce_source", b"/control"),
            ("ce_id", f"{self.version}-{self.number}".encode()),
            ("ce_subject", f"{self.model}/{self.version}".encode()),
            ("duri_part", f"{self.number}/{self.of}".encode()),
            ("content-type", b"application/octet-stream"),
        ]


def parse_part(subject: bytes, place: bytes, content: bytes) -> ModelPart:
    """A piece from its record's headers `ce_subject` and `duri_part`, and its value. Raises ValueError."""
    model, version = subject.decode().split("/")
    number, count = (int(one) for one in place.decode().split("/"))
    if not (0 <= number < count and model and version):
        raise ValueError(f"piece {number} of {count} of {model!r} {version!r}")
    return ModelPart(model, version, number, count, content)
