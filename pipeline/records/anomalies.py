"""Anomalies: what deviates, by whose judgement."""

from __future__ import annotations

import enum
from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field

from pipeline.records.base import SCHEMA_VERSION, Direction, Record, Severity, Share


class Detector(enum.StrEnum):
    """Who flags."""

    STATIC = "static"
    LEARNED = "learned"
    REGRESSION = "regression"
    ABSENT = "absent"
    MULTIVARIATE = "multivariate"
    TRAINED = "trained"
    BURN_RATE = "burn_rate"


class AnomalyState(enum.StrEnum):
    """Life cycle of an anomaly."""

    OPENED = "opened"
    UPDATED = "updated"
    CLOSED = "closed"


def _none(value: object) -> bool:
    return value is None


def _nothing(value: object) -> bool:
    return not value


ClosedBecause = Literal["recovered", "new_normal", "series_gone"]

AnomalyShape = Literal["spike", "shift", "trend", "flatline", "season", "variance", "novel", "absence"]


class Firing(Record):
    """One detector that fires within an anomaly."""

    kind_name: ClassVar[str] = "firing"

    detector: Detector
    severity: Severity
    score: Share
    since: AwareDatetime
    rule: str | None = Field(
        default=None, description="Id of the static or regression rule; name and version of the trained model"
    )
    held_for_s: float | None = Field(default=None, description="How long the rule's condition has held")
    threshold: float | None = None


class Contribution(Record):
    """A signal that takes part in an anomaly of several signals together."""

    kind_name: ClassVar[str] = "contribution"

    signal: str
    share: Share = Field(description="Part of what is odd that is this signal's")
    observed: float | None
    expected: float | None
    lower: float | None = Field(
        default=None, exclude_if=_none, description="Lower end of the band that a trained model expects"
    )
    upper: float | None = Field(default=None, exclude_if=_none, description="Its upper end")


class Provenance(Record):
    """The input record that caused this one."""

    kind_name: ClassVar[str] = "provenance"

    topic: str
    partition: int
    offset: int


class Ranked(Record):
    """What a trained ranker said of an anomaly when it opened."""

    kind_name: ClassVar[str] = "ranked"

    model: str
    version: str
    probability: Share = Field(description="That it matters to people")
    quiet: bool = Field(description="Below the ranker's threshold: published, but no reason for advice unless critical")


class Anomaly(Record):
    """A signal or raw series of one service deviates; one record each time its state changes."""

    kind_name: ClassVar[str] = "anomaly"

    id: str
    schema_version: str = SCHEMA_VERSION
    state: AnomalyState
    severity: Severity
    service: str
    labels: dict[str, str] = Field(description="Labels of the entity within the service")
    signal: str = Field(description="Name of the signal, or of the raw series")
    unit: str
    opened_at: AwareDatetime
    last_at: AwareDatetime
    closed_at: AwareDatetime | None = None
    closed_because: ClosedBecause | None = None
    observed: float | None = Field(description="Value when it deviated most; null when data is absent")
    expected: float | None
    lower: float | None
    upper: float | None
    score: Share
    direction: Direction
    shape: AnomalyShape | None = Field(default=None, description="What it looks like, as the learners name it")
    detectors: list[Firing] = Field(description="Who fires or has fired, each with its own score")
    lead_s: float | None = Field(
        default=None,
        description="Seconds by which another detector was ahead of the static rule; null while no static rule fired",
    )
    contributions: list[Contribution] = Field(
        default_factory=list,
        exclude_if=_nothing,
        description="Which signals are odd together, the most contributing first; absent where it is about one signal",
    )
    ranked: Ranked | None = Field(
        default=None, exclude_if=_none, description="Whether it matters, where a ranker is live; absent otherwise"
    )
    recent: list[float | None] = Field(default_factory=list, max_length=60, description="Recent values, newest last")
    model_version: str = ""
    provenance: Provenance
