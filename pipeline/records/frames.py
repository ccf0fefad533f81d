"""Frames, and what says how far event time has come."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AwareDatetime, Field

from pipeline.records.anomalies import Detector, Provenance
from pipeline.records.base import SCHEMA_VERSION, Direction, Record, Severity, Share


def _nothing(value: object) -> bool:
    return not value


def _false(value: object) -> bool:
    return value is False


def _none(value: object) -> bool:
    return value is None


class SignalFrame(Record):
    """A signal in one frame. Null where there was no data or no expectation yet."""

    kind_name: ClassVar[str] = "signal_frame"

    value: float | None
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    score: Share = 0.0


class OpenAnomaly(Record):
    """An anomaly that is open in this frame, in short."""

    kind_name: ClassVar[str] = "open_anomaly"

    id: str
    signal: str
    labels: dict[str, str] = Field(default_factory=dict)
    severity: Severity = Field(description="The gravest of what fires now, or did until lately")
    direction: Direction
    score: Share
    detectors: list[Detector]
    rules: list[str] = Field(default_factory=list, description="Ids of the static rules that fire")
    opened_at: AwareDatetime
    serious_since: AwareDatetime | None = Field(
        default=None, exclude_if=_none, description="Since when it is a warning or worse; absent where it is neither"
    )
    observed: float | None
    expected: float | None
    lead_s: float | None = None
    contributions: dict[str, Share] = Field(
        default_factory=dict,
        exclude_if=_nothing,
        description="Share of each signal, where the anomaly is about several together",
    )
    quiet: bool = Field(
        default=False, exclude_if=_false, description="A ranker says that it hardly matters; absent otherwise"
    )


class Calls(Record):
    """How often one service calls another."""

    kind_name: ClassVar[str] = "calls"

    client: str
    server: str
    rps: float = Field(description="Requests per second")


class TrainedScore(Record):
    """What the live version of a trained model says of a service in one frame."""

    kind_name: ClassVar[str] = "trained_score"

    version: str
    score: Share = Field(description="0.5 and more is an anomaly")
    band: dict[str, tuple[float, float, float]] = Field(
        default_factory=dict,
        exclude_if=_nothing,
        description="By signal what a model with bands expects: lower end, middle, upper end",
    )


class Frame(Record):
    """One service in one frame interval: every signal, every settings gauge, every open anomaly."""

    kind_name: ClassVar[str] = "frame"

    schema_version: str = SCHEMA_VERSION
    service: str
    system: str = "default"
    start: AwareDatetime
    end: AwareDatetime
    signals: dict[str, SignalFrame]
    settings: dict[str, float] = Field(description="Configured limits seen as metrics: pool size, maxmemory, …")
    anomalies: list[OpenAnomaly] = Field(default_factory=list)
    calls: list[Calls] = Field(default_factory=list, description="Who calls whom, where span metrics tell it")
    together: Share | None = Field(
        default=None, exclude_if=_none, description="How odd all signals are together; 0.5 and more is an anomaly"
    )
    trained: dict[str, TrainedScore] = Field(
        default_factory=dict, exclude_if=_nothing, description="By trained model; none while it warms up"
    )
    source: Provenance = Field(description="Input partition, and the offset that completed the frame")


class Watermark(Record):
    """All frames of this source partition up to `until` are out. On `duri.frames`, after its frames."""

    kind_name: ClassVar[str] = "watermark"

    source_partition: int
    until: AwareDatetime
    arrival: AwareDatetime | None = Field(
        default=None, description="When the newest of its samples was published: the pace of a source that replays"
    )


class Tick(Record):
    """Event time moves on although no data came. Written by a stage into its own input."""

    kind_name: ClassVar[str] = "tick"

    at: AwareDatetime


class SourceIdle(Record):
    """An input partition has nothing more to say: nobody need wait for it.

    On `duri.samples`: one of ingest's inputs is read to its end. On `duri.frames`: a partition of `duri.samples` has
    never had a sample.
    """

    kind_name: ClassVar[str] = "source_idle"

    source: str = Field(description="topic/partition", pattern=r"^.+/\d+$")
