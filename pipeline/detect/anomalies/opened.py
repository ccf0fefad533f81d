"""An open anomaly, and the record of it that is published."""

from __future__ import annotations

import math

import msgspec

from pipeline.records import (
    Anomaly,
    AnomalyState,
    ClosedBecause,
    Contribution,
    Detector,
    Direction,
    Firing,
    Provenance,
    Ranked,
    Severity,
    from_ms,
)


class Fired(msgspec.Struct):
    """One detector within an anomaly; times in ms."""

    detector: Detector
    rule: str | None
    severity: Severity
    score: float
    since: int
    first: int
    last: int
    threshold: float | None
    shape: str | None = None


class Contributing(msgspec.Struct):
    """A signal that takes part in an anomaly of several, when it was oddest."""

    signal: str
    share: float
    observed: float
    expected: float
    lower: float = math.nan
    upper: float = math.nan


class Open(msgspec.Struct):
    """An open anomaly; times in ms."""

    id: str
    service: str
    signal: str
    entity: str
    labels: dict[str, str]
    unit: str
    opened: int
    last: int
    severity: Severity
    fired: list[Fired]
    observed: float
    expected: float
    lower: float
    upper: float
    normal: float
    """What was expected when it opened: what recovery means."""
    latest: float
    recent: list[float]
    provenance: Provenance
    reported: int
    reported_severity: Severity
    reported_fired: int
    contributors: list[Contributing] = []
    contributed: float = 0.0
    """Score at which they were noted."""
    ranked: Ranked | None = None
    present_severity: Severity = Severity.INFO
    """The gravest of what fires now, or did less than `close_after` ago."""
    serious_since: int | None = None
    """Since when that is a warning or worse."""

    @property
    def quiet(self) -> bool:
        """Whether it hardly matters; what is critical always does."""
        return self.ranked is not None and self.ranked.quiet and self.severity is not Severity.CRITICAL

    @property
    def score(self) -> float:
        """The highest score of any detector."""
        return max(fired.score for fired in self.fired)

    @property
    def direction(self) -> Direction:
        """On which side of the expectation it was observed; without one, of the static rule's threshold."""
        thresholds = [f.threshold for f in self.fired if f.detector is Detector.STATIC and f.threshold is not None]
        reference = thresholds[0] if thresholds and math.isnan(self.expected) else self.expected
        deviation = self.observed - reference
        if math.isnan(deviation) or deviation == 0:
            return Direction.NONE
        return Direction.UP if deviation > 0 else Direction.DOWN

    @property
    def shape(self) -> str | None:
        """What it looks like, as the learners name it."""
        return next((fired.shape for fired in self.fired if fired.shape is not None), None)

    @property
    def lead_s(self) -> float | None:
        """Seconds by which another detector was ahead of the static rule (negative: behind)."""
        static = [f.first for f in self.fired if f.detector is Detector.STATIC and f.severity is not Severity.INFO]
        others = [f.first for f in self.fired if f.detector is not Detector.STATIC]
        return (min(static) - min(others)) / 1000 if static and others else None

    def firing_now(self) -> list[Fired]:
        """The detectors that fired at the last evaluation that fired at all."""
        return [fired for fired in self.fired if fired.last == self.last]


def anomaly_record(
    now: Open,
    state: AnomalyState,
    model_version: str,
    *,
    closed: int | None = None,
    because: ClosedBecause | None = None,
) -> Anomaly:
    """What is published of an anomaly in this state; `closed` is a time in ms."""
    return Anomaly(
        id=now.id,
        state=state,
        severity=now.severity,
        service=now.service,
        labels=now.labels,
        signal=now.signal,
        unit=now.unit,
        opened_at=from_ms(now.opened),
        last_at=from_ms(now.last),
        closed_at=None if closed is None else from_ms(closed),
        closed_because=because,
        observed=or_none(now.observed),
        expected=or_none(now.expected),
        lower=or_none(now.lower),
        upper=or_none(now.upper),
        score=now.score,
        direction=now.direction,
        shape=now.shape,
        detectors=[
            Firing(
                detector=fired.detector,
                severity=fired.severity,
                score=fired.score,
                since=from_ms(fired.since),
                rule=fired.rule,
                held_for_s=(fired.last - fired.since) / 1000,
                threshold=fired.threshold,
            )
            for fired in now.fired
        ],
        lead_s=now.lead_s,
        contributions=[
            Contribution(
                signal=one.signal,
                share=one.share,
                observed=or_none(one.observed),
                expected=or_none(one.expected),
                lower=or_none(one.lower),
                upper=or_none(one.upper),
            )
            for one in now.contributors
        ],
        recent=[or_none(value) for value in now.recent],
        ranked=now.ranked,
        model_version=model_version,
        provenance=now.provenance,
    )


def or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value
