"""Recommendations with their proof, their undo and their life cycle; and what came of them."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field

from pipeline.errors import LifecycleError
from pipeline.records.anomalies import Provenance
from pipeline.records.base import SCHEMA_VERSION, Record, Severity, Share
from pipeline.records.incidents import RunsOut

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    shared_by: list[str] = Field(
        default_factory=list, description="Services that it is for, `service` among them, where several use it"
    )


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
    runs_out: list[RunsOut] = Field(default_factory=list, description="What is used up when, if nothing is done")


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
    settle_s: float = Field(default=0.0, description="How long after the change nothing counts yet")
    abort_if: str = Field(
        default="", description="What must not become true; more errors and slower requests never may"
    )
    text: str = Field(default="", description="The same in words")


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
    rank_reason: str = Field(default="", description="Why it is not the first choice")
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
    answer: str = Field(default="", description="What somebody last said of it, or did without saying")


class Comparison(Record):
    """Windows of a signal before and after a change, the season taken out."""

    kind_name: ClassVar[str] = "comparison"

    signal: str
    before: float | None = Field(description="Median before the change")
    after: float | None = Field(description="Median after it")
    intervals_before: int
    intervals_after: int
    p: Share = Field(description="Mann-Whitney: how likely such ranks are where nothing changed")
    delta: Annotated[float, Field(ge=-1, le=1)] = Field(
        description="Cliff's delta: 1 where every interval after is higher than every one before"
    )


class Outcome(Record):
    """What came of a recommendation, or of a change that somebody made."""

    kind_name: ClassVar[str] = "outcome"

    id: str
    schema_version: str = SCHEMA_VERSION
    recommendation: str = Field(description="Id; empty for a change that nobody recommended")
    change: str = Field(default="", description="Id of the change event, for a deploy")
    rule: str
    rule_version: str = Field(default="", description="Empty for a change that nobody recommended")
    service: str = ""
    at: AwareDatetime
    result: Literal["verified", "no_effect", "regressed", "rejected", "expired", "fine"]
    signal: str
    before: float | None
    after: float | None
    compared: list[Comparison] = Field(default_factory=list, description="What the result rests on, the target first")
    rule_verified: int = Field(default=0, description="How many applied recommendations of this rule were verified")
    rule_applied: int = Field(default=0, description="How many have been applied and judged so far")
    disturbed: int = Field(default=0, description="Intervals left out, because something else was going on")
    note: str = ""
