"""What the pipeline made of known faults: who flagged each first, how far ahead of the static rule, which advice.

Everything is worked out from the records that arrived on the output topics and from the times of the faults.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import msgspec

from pipeline.records import Anomaly, Detector, Recommendation, Severity
from pipeline.views import words

if TYPE_CHECKING:
    from collections.abc import Sequence

AFTERMATH = timedelta(minutes=30)
"""What is flagged or advised this long after a fault was mended still belongs to it: rules take time to see it."""


class KnownFault(Protocol):
    """A fault of which one knows what, where and when."""

    @property
    def service(self) -> str:
        """Service that it happens in."""
        ...

    @property
    def kind(self) -> str:
        """Short name."""
        ...

    @property
    def title(self) -> str:
        """What happens, for people."""
        ...

    @property
    def start(self) -> datetime:
        """When it begins."""
        ...

    @property
    def end(self) -> datetime:
        """When it is mended."""
        ...

    @property
    def expected(self) -> frozenset[str]:
        """Kinds of recommendation that mend it."""
        ...


class Flag(msgspec.Struct, frozen=True):
    """A detector that fired on a signal, `after_s` seconds after the fault began."""

    detector: str
    signal: str
    at: datetime
    after_s: float


class Advice(msgspec.Struct, frozen=True):
    """A recommendation made for a fault; `right` where its kind is one that mends it."""

    id: str
    kind: str
    change: str
    confidence: float
    at: datetime
    after_s: float
    right: bool


class FaultOutcome(msgspec.Struct, frozen=True):
    """What came of one fault; None where nothing came."""

    service: str
    kind: str
    title: str
    start: datetime
    end: datetime
    first_flag: Flag | None
    """The first of the detectors other than static rules."""
    static_rule: Flag | None
    lead_s: float | None
    """Seconds by which the first flag was ahead of the static rule; None where either is missing."""
    first_advice: Advice | None
    right_advice: Advice | None
    """The first recommendation that mends it; often the same."""


class Totals(msgspec.Struct, frozen=True):
    """Counts over the whole run."""

    samples: int
    seconds: float
    samples_per_s: float
    anomalies: int
    anomalies_outside_faults: int
    anomalies_by_detector: dict[str, int]
    """An anomaly that two detectors flag counts for both."""
    recommendations: int
    right_recommendations: int
    false_recommendations: int
    """Recommendations that match no fault in service and time."""


class DemoSummary(msgspec.Struct, frozen=True):
    """The whole summary; `duri demo --json` prints it."""

    data: str
    """Where the samples came from."""
    faults: list[FaultOutcome]
    totals: Totals


class Evidence:
    """What arrived on the output topics: every anomaly, when each detector joined it, every recommendation."""

    def __init__(self) -> None:
        self.anomalies: dict[str, Anomaly] = {}
        """The last record of each."""
        self.recommendations: dict[str, Recommendation] = {}
        """The first record of each."""
        self.joined: dict[tuple[str, Detector, str | None], datetime] = {}
        """When a detector's firing (anomaly, detector, rule) was first published, in event time.

        That is later than `Firing.since` for a rule with a duration, and it is what a person would have seen.
        """

    def take(self, record: object) -> None:
        """Take one record; those of other kinds are no evidence here."""
        if isinstance(record, Anomaly):
            self.anomalies[record.id] = record
            for firing in record.detectors:
                self.joined.setdefault((record.id, firing.detector, firing.rule), record.last_at)
        elif isinstance(record, Recommendation):
            self.recommendations.setdefault(record.id, record)


def summarise(
    data: str,
    faults: Sequence[KnownFault],
    evidence: Evidence,
    *,
    samples: int,
    seconds: float,
) -> DemoSummary:
    """The summary of a run over `samples` samples that took so many seconds."""
    anomalies = evidence.anomalies.values()
    advice = list(evidence.recommendations.values())
    detectors = Counter(one.value for anomaly in anomalies for one in {f.detector for f in anomaly.detectors})
    totals = Totals(
        samples=samples,
        seconds=round(seconds, 2),
        samples_per_s=round(samples / seconds) if seconds else 0.0,
        anomalies=len(anomalies),
        anomalies_outside_faults=sum(not any(_flags(fault, one, evidence) for fault in faults) for one in anomalies),
        anomalies_by_detector=dict(sorted(detectors.items())),
        recommendations=len(advice),
        right_recommendations=sum(
            any(_belongs(fault, one) and one.kind in fault.expected for fault in faults) for one in advice
        ),
        false_recommendations=sum(not any(_belongs(fault, one) for fault in faults) for one in advice),
    )
    return DemoSummary(data=data, faults=[_outcome(fault, evidence) for fault in faults], totals=totals)


def _outcome(fault: KnownFault, evidence: Evidence) -> FaultOutcome:
    found = [flag for one in evidence.anomalies.values() for flag in _flags(fault, one, evidence)]
    found.sort(key=lambda flag: flag.at)
    first = next((flag for flag in found if flag.detector != Detector.STATIC), None)
    static = next((flag for flag in found if flag.detector == Detector.STATIC), None)
    given = sorted(
        (one for one in evidence.recommendations.values() if _belongs(fault, one)),
        key=lambda one: (one.created, one.rank),
    )
    advised = [_advice(fault, one) for one in given]
    return FaultOutcome(
        service=fault.service,
        kind=fault.kind,
        title=fault.title,
        start=fault.start,
        end=fault.end,
        first_flag=first,
        static_rule=static,
        lead_s=(static.at - first.at).total_seconds() if first and static else None,
        first_advice=advised[0] if advised else None,
        right_advice=next((one for one in advised if one.right), None),
    )


def _flags(fault: KnownFault, anomaly: Anomaly, evidence: Evidence) -> list[Flag]:
    """The detectors that joined this anomaly in the fault's time, if it is on the fault's service.

    Static rules of severity info only note a baseline; nobody is alarmed by them, so one is not ahead of them.
    """
    if anomaly.service != fault.service:
        return []
    flags = []
    for firing in anomaly.detectors:
        at = evidence.joined[anomaly.id, firing.detector, firing.rule]
        silent = firing.detector is Detector.STATIC and firing.severity is Severity.INFO
        if _during(fault, at) and not silent:
            after_s = (at - fault.start).total_seconds()
            flags.append(Flag(firing.detector.value, anomaly.signal, at, after_s))
    return flags


def _belongs(fault: KnownFault, one: Recommendation) -> bool:
    return one.target.service == fault.service and _during(fault, one.created)


def _mends(fault: KnownFault, one: Recommendation) -> bool:
    return _belongs(fault, one) and one.kind in fault.expected


def _during(fault: KnownFault, moment: datetime) -> bool:
    return fault.start <= moment <= fault.end + AFTERMATH


def _advice(fault: KnownFault, one: Recommendation) -> Advice:
    return Advice(
        id=one.id,
        kind=one.kind,
        change=words.change(one).plain,
        confidence=one.confidence,
        at=one.created,
        after_s=(one.created - fault.start).total_seconds(),
        right=_mends(fault, one),
    )
