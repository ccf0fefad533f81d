"""The records that people and programs read: versioned, validated, with a JSON Schema each.

They travel as JSON with CloudEvents binary-mode headers (CloudEvents 1.0, Kafka protocol binding § 3.2).
Times are ISO 8601 in UTC; ids are hashes of what identifies the record, so a repeated record has the same id.
"""

from __future__ import annotations

import enum
import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from pipeline.errors import LifecycleError

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION = "1"
JSON_CONTENT_TYPE = "application/json"

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Severity(enum.StrEnum):
    """How urgent, in rising order."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info, 2 for critical: for comparing."""
        return _SEVERITIES.index(self)


_SEVERITIES = list(Severity)


class Direction(enum.StrEnum):
    """On which side of the expectation the observed value lies."""

    UP = "up"
    DOWN = "down"
    NONE = "none"


class Record(BaseModel):
    """What all records share."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind_name: ClassVar[str]

    @classmethod
    def event_type(cls) -> str:
        """CloudEvents type: `duri.<kind>.v<schema version>`."""
        return f"duri.{cls.kind_name}.v{SCHEMA_VERSION}"


def content_id(*parts: object) -> str:
    """Id from what identifies a record: 16 hex digits of BLAKE2b over the parts."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def from_ms(ms: int) -> datetime:
    """Milliseconds since the epoch as an aware datetime in UTC."""
    return datetime.fromtimestamp(ms / 1000, tz=UTC)


def to_ms(moment: datetime) -> int:
    """An aware datetime as milliseconds since the epoch."""
    return round(moment.timestamp() * 1000)


def cloudevent_headers(event_type: str, source: str, identity: str, ms: int) -> list[tuple[str, bytes]]:
    """Kafka headers of a CloudEvent in binary mode; `ms` is the event's time."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_type", event_type.encode()),
        ("ce_source", source.encode()),
        ("ce_id", identity.encode()),
        ("ce_time", from_ms(ms).isoformat().encode()),
        ("content-type", JSON_CONTENT_TYPE.encode()),
    ]


# --- what goes in ---------------------------------------------------------------------------------------------


class Sample(Record):
    """One value of one series, as a producer may publish it on `duri.metrics` in JSON."""

    kind_name: ClassVar[str] = "sample"
    # Producers add fields of their own; they are not ours to refuse.
    model_config = ConfigDict(extra="ignore", frozen=True)

    name: Annotated[str, Field(min_length=1, description="Metric name, for instance http_requests_total")]
    labels: dict[str, str] = Field(default_factory=dict, description="Labels; `service` names the service")
    ts: int | float | AwareDatetime | str = Field(
        description="Time: s, ms, µs or ns since the epoch (told apart by magnitude), or ISO 8601"
    )
    value: float
    kind: Literal["gauge", "counter", "bucket"] | None = Field(
        default=None, description="How to read the value; by the name's suffix where absent"
    )
    unit: str | None = Field(default=None, description="UCUM unit; by the name's suffix where absent")


class ChangeEvent(Record):
    """Somebody changed something: a deploy, a configuration change, a scaling. Published on `duri.control`."""

    kind_name: ClassVar[str] = "change"

    id: str
    at: AwareDatetime
    service: str
    change: Literal["deploy", "config", "scale", "restart", "other"] = "deploy"
    version: str | None = None
    previous_version: str | None = None
    summary: str = ""
    by: str = ""


class Feedback(Record):
    """What a person says of a recommendation. Published on `duri.control`."""

    kind_name: ClassVar[str] = "feedback"

    id: str
    at: AwareDatetime
    recommendation: str = Field(description="Id of the recommendation")
    verdict: Literal["acknowledged", "applied", "rejected", "false_alarm", "snooze"]
    by: str = ""
    note: str = ""


class MaintenanceWindow(Record):
    """From `start` to `end` deviations of these services are expected. Published on `duri.control`."""

    kind_name: ClassVar[str] = "maintenance"

    id: str
    at: AwareDatetime
    start: AwareDatetime
    end: AwareDatetime
    services: list[str] = Field(default_factory=list, description="Empty: all")
    reason: str = ""


# --- anomalies ------------------------------------------------------------------------------------------------


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


ClosedBecause = Literal["recovered", "new_normal", "series_gone"]


class Firing(Record):
    """One detector that fires within an anomaly."""

    kind_name: ClassVar[str] = "firing"

    detector: Detector
    severity: Severity
    score: Share
    since: AwareDatetime
    rule: str | None = Field(default=None, description="Id of the static or regression rule")
    held_for_s: float | None = Field(default=None, description="How long the rule's condition has held")
    threshold: float | None = None


class Provenance(Record):
    """The input record that caused this one."""

    kind_name: ClassVar[str] = "provenance"

    topic: str
    partition: int
    offset: int


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
    detectors: list[Firing] = Field(description="Who fires or has fired, each with its own score")
    lead_s: float | None = Field(
        default=None,
        description="Seconds by which another detector was ahead of the static rule; null while no static rule fired",
    )
    recent: list[float | None] = Field(default_factory=list, max_length=60, description="Recent values, newest last")
    model_version: str = ""
    provenance: Provenance


# --- frames ---------------------------------------------------------------------------------------------------


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
    severity: Severity
    direction: Direction
    score: Share
    detectors: list[Detector]
    rules: list[str] = Field(default_factory=list, description="Ids of the static rules that fire")
    opened_at: AwareDatetime
    observed: float | None
    expected: float | None
    lead_s: float | None = None


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


# --- incidents and recommendations ----------------------------------------------------------------------------


class IncidentState(enum.StrEnum):
    """Life cycle of an incident."""

    OPENED = "opened"
    UPDATED = "updated"
    CLOSED = "closed"


class Incident(Record):
    """Anomalies that belong together in time and along the service graph."""

    kind_name: ClassVar[str] = "incident"

    id: str
    schema_version: str = SCHEMA_VERSION
    state: IncidentState
    severity: Severity
    system: str
    services: list[str]
    cause: str = Field(description="Service that most likely causes it")
    summary: str
    opened_at: AwareDatetime
    last_at: AwareDatetime
    closed_at: AwareDatetime | None = None
    anomalies: list[str]
    changes: list[str] = Field(default_factory=list, description="Ids of change events shortly before it")
    recommendations: list[str] = Field(default_factory=list)


class RecommendationState(enum.StrEnum):
    """Life cycle of a recommendation; `MOVES` says which move is legal."""

    PROPOSED = "proposed"
    ACKNOWLEDGED = "acknowledged"
    APPLIED = "applied"
    VERIFIED = "verified"
    NO_EFFECT = "no_effect"
    REGRESSED = "regressed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


_P, _K, _A = RecommendationState.PROPOSED, RecommendationState.ACKNOWLEDGED, RecommendationState.APPLIED
_ENDS_BEFORE_APPLY = frozenset(
    {RecommendationState.REJECTED, RecommendationState.EXPIRED, RecommendationState.SUPERSEDED}
)
MOVES: Mapping[RecommendationState, frozenset[RecommendationState]] = {
    _P: frozenset({_K, _A}) | _ENDS_BEFORE_APPLY,
    _K: frozenset({_A}) | _ENDS_BEFORE_APPLY,
    _A: frozenset({RecommendationState.VERIFIED, RecommendationState.NO_EFFECT, RecommendationState.REGRESSED}),
}
"""Legal moves; a state that is no key is final."""


def check_move(now: RecommendationState, then: RecommendationState) -> None:
    """Raise LifecycleError where `MOVES` does not have this move."""
    allowed = MOVES.get(now, frozenset())
    if then not in allowed:
        names = ", ".join(sorted(allowed)) or "none, it is final"
        raise LifecycleError(f"a recommendation cannot go from {now} to {then}; from {now} it may go to: {names}")


class Target(Record):
    """What to change."""

    kind_name: ClassVar[str] = "target"

    service: str
    component: str = Field(description="application, postgresql, redis, container, deployment, …")
    resource: str = Field(default="", description="Which one, where there are several")


class Evidence(Record):
    """One observation that speaks for the change."""

    kind_name: ClassVar[str] = "evidence"

    signal: str
    observed: float | None
    expected: float | None
    unit: str = ""
    window_start: AwareDatetime
    window_end: AwareDatetime
    contribution: Share = Field(description="Share of the confidence that rests on this")
    note: str = ""


class Why(Record):
    """Finding, reason and evidence."""

    kind_name: ClassVar[str] = "why"

    findings: list[str] = Field(min_length=1, description="Finding codes, the catalogue's")
    reason: str = Field(description="One sentence")
    evidence: list[Evidence]
    anomalies: list[str] = Field(default_factory=list)
    changes: list[str] = Field(default_factory=list)
    incident: str | None = None


class Change(Record):
    """From what to what, and within which bounds."""

    kind_name: ClassVar[str] = "parameter_change"

    parameter: str
    current: float | str | None
    recommended: float | str
    lower: float | None = None
    upper: float | None = None
    unit: str = ""


class Command(Record):
    """One way to do it: a command to run, or a text to put into a file."""

    kind_name: ClassVar[str] = "command"

    via: str = Field(description="sql, redis-cli, compose, kubernetes, sqlalchemy, env, …")
    run: str


class How(Record):
    """Exact commands or edits."""

    kind_name: ClassVar[str] = "how"

    commands: list[Command] = Field(min_length=1)
    restart_required: bool
    prerequisites: list[str] = Field(default_factory=list)


class Effect(Record):
    """What is expected to happen, and why one may expect it."""

    kind_name: ClassVar[str] = "effect"

    signal: str
    text: str
    basis: str


class Verification(Record):
    """How to see whether it worked."""

    kind_name: ClassVar[str] = "verification"

    signal: str
    condition: str
    after_s: float
    abort_if: str = ""


class RecommendationProvenance(Record):
    """Which rule and which input it comes from."""

    kind_name: ClassVar[str] = "recommendation_provenance"

    rule: str
    rule_version: str
    model_version: str = ""
    inputs: list[Provenance] = Field(default_factory=list)


class Recommendation(Record):
    """A change that a person can make, with its proof and its undo."""

    kind_name: ClassVar[str] = "recommendation"

    id: str
    kind: str = Field(description="Id of the catalogue rule's kind of change")
    category: Literal["tuning", "capacity", "rollback", "fix", "investigate"]
    schema_version: str = SCHEMA_VERSION
    created: AwareDatetime
    updated: AwareDatetime
    expires: AwareDatetime
    target: Target
    state: RecommendationState
    severity: Severity
    rank: Annotated[int, Field(ge=1, description="1 is the first choice within its incident")]
    confidence: Share
    why: Why
    change: Change
    how: How
    effect: Effect
    risk: Literal["low", "medium", "high"]
    risk_note: str = ""
    undo: list[Command]
    verification: Verification
    provenance: RecommendationProvenance
    links: list[str] = Field(default_factory=list)


class Outcome(Record):
    """What came of a recommendation."""

    kind_name: ClassVar[str] = "outcome"

    id: str
    schema_version: str = SCHEMA_VERSION
    recommendation: str
    rule: str
    at: AwareDatetime
    result: Literal["verified", "no_effect", "regressed", "rejected", "expired"]
    signal: str
    before: float | None
    after: float | None
    note: str = ""


PUBLIC_RECORDS: tuple[type[Record], ...] = (
    Sample,
    Frame,
    Anomaly,
    Incident,
    Recommendation,
    Outcome,
    Feedback,
    ChangeEvent,
    MaintenanceWindow,
    Watermark,
    Tick,
    SourceIdle,
)
"""The records that have a message of their own; `duri schema` writes one JSON Schema for each."""
