"""Records in words: the texts that all the terminal views share, with colours as rich styles."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from rich.text import Text

from pipeline import quantities as fmt
from pipeline.records import (
    MOVES,
    Anomaly,
    Detector,
    Incident,
    IncidentState,
    Muting,
    Outcome,
    Recommendation,
    RecommendationState,
    Severity,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from pipeline.records import Command, Record, RunsOut

    Clock = Callable[[datetime], str]

SEVERITY_STYLE = {Severity.INFO: "cyan", Severity.WARNING: "yellow", Severity.CRITICAL: "bold red"}
UNDER = " " * 11
_DETECTOR_STYLE = {Detector.STATIC: "dim"}
_OUTCOME_STYLE = {"verified": "green", "regressed": "bold red"}


def detectors(anomaly: Anomaly, *, short: bool = False) -> Text:
    """Who flagged it, in the order in which they joined: `learned, static`, or in short `learned +1`.

    Static rules are dimmed, because they are what one has already.
    """
    seen = list(dict.fromkeys(one.detector for one in anomaly.detectors))
    text = Text()
    for detector in seen[:1] if short else seen:
        text.append(", " if text else "").append(detector.value, _DETECTOR_STYLE.get(detector, "bold"))
    return text.append(f" +{len(seen) - 1}", "dim") if short and len(seen) > 1 else text


def ahead(anomaly: Anomaly) -> Text:
    """How far ahead of the static rule: `38 min`; a dash while no static rule has fired."""
    if anomaly.lead_s is None:
        return Text(fmt.NOTHING, "dim")
    return Text(fmt.duration(anomaly.lead_s), "green" if anomaly.lead_s > 0 else "dim")


def change(recommendation: Recommendation) -> Text:
    """`pool_size 20 → 40`."""
    what = recommendation.change
    text = Text(f"{what.parameter} ")
    if what.current is not None:
        text.append(fmt.value(what.current, what.unit)).append(" → ")
    return text.append(fmt.value(what.recommended, what.unit), "bold green")


def subject(recommendation: Recommendation) -> str:
    """What is changed: `duri_core application`, or `postgresql of 4 services` where they share it."""
    target = recommendation.target
    if target.shared_by:
        return f"{target.component} of {fmt.count(len(target.shared_by), 'service')}"
    return f"{target.service} {target.component}"


def undo(recommendation: Recommendation) -> str:
    """How to take it back, in one line."""
    return _first(recommendation.undo) or "nothing to undo"


def runs_out(one: RunsOut) -> str:
    """What is used up when: `memory.utilisation at 2025-01-07 13:25 (13:10 to 13:50) UTC`."""
    earliest, latest = fmt.date_time(one.earliest_at), fmt.date_time(one.latest_at)
    return f"{one.what} at {fmt.date_time(one.expected_at)} UTC, between {earliest} and {latest}"


def verdict_at(record: Recommendation) -> datetime:
    """The earliest moment at which a recommendation that was applied when it last moved is judged."""
    return record.updated + timedelta(seconds=record.verification.settle_s + record.verification.after_s)


def next_step(record: Recommendation) -> str:
    """What comes next, or what a person may do; nothing where it is over."""
    if record.state is RecommendationState.APPLIED:
        return f"the verdict comes at {fmt.date_time(verdict_at(record))} UTC or soon after; `duri watch` shows it"
    if record.state in MOVES:
        return f"duri feedback {record.id} applied (or rejected, false-alarm, snooze)"
    return ""


def compared(outcome: Outcome) -> str:
    """What an outcome rests on: `pg.temp_bytes.rate 2 → 0  note`."""
    return f"{outcome.signal} {fmt.value(outcome.before)} → {fmt.value(outcome.after)}  {outcome.note}".rstrip()


def _first(commands: Sequence[Command]) -> str:
    """The first of them in one line, and how many others there are; empty where there is none."""
    if not commands:
        return ""
    first, more = " ".join(commands[0].run.split()), len(commands) - 1
    return f"{first} (+{more} more)" if more else first


def line(record: Record, clock: Clock = fmt.clock) -> Text | None:
    """One line for one record (more for advice), or None for records that people need not see."""
    if isinstance(record, Anomaly):
        return _anomaly_line(record, clock)
    if isinstance(record, Recommendation):
        return _recommendation_line(record, clock)
    if isinstance(record, Incident):
        return _incident_line(record, clock)
    if isinstance(record, Outcome):
        return _outcome_line(record, clock)
    if isinstance(record, Muting):
        return _muting_line(record, clock)
    return None


def _anomaly_line(record: Anomaly, clock: Clock) -> Text:
    text = _start(clock(record.last_at), "anomaly", SEVERITY_STYLE[record.severity])
    text.append(f"{record.state.value:<8}").append(f"{record.service} ", "bold").append(record.signal)
    if record.contributions:
        shares = ", ".join(f"{one.signal} {fmt.percent(one.share)}" for one in record.contributions)
        text.append(f" together: {shares}  ", "bold")
    elif record.observed is None:
        text.append(" no data  ", "bold")
    else:
        text.append(f" {fmt.value(record.observed, record.unit)}", "bold")
        text.append(f" (expected {fmt.value(record.expected, record.unit)})  ")
    text.append(detectors(record))
    if record.lead_s is not None and record.lead_s > 0:
        text.append(f"  {fmt.duration(record.lead_s)} ahead of the static rule", "green")
    return text


def _recommendation_line(record: Recommendation, clock: Clock) -> Text:
    """What is over has one line; else why and how until somebody has made the change, the undo until it is judged."""
    text = _start(clock(record.updated), "advice", SEVERITY_STYLE[record.severity])
    text.append(f"{record.state.value} ").append(f"{subject(record)}: ", "bold")
    text.append(change(record)).append(f"  {fmt.percent(record.confidence)} sure, {record.risk} risk")
    if record.state not in MOVES:
        return text
    if record.state is not RecommendationState.APPLIED:
        restart = " (takes a restart)" if record.how.restart_required else ""
        text.append(f"\n{UNDER}why:  {record.why.reason}\n{UNDER}how:  {_first(record.how.commands)}{restart}")
    return text.append(f"\n{UNDER}undo: {undo(record)}", "dim")


def _incident_line(record: Incident, clock: Clock) -> Text:
    text = _start(clock(record.last_at), "incident", SEVERITY_STYLE[record.severity])
    text.append(f"{record.state.value:<8}").append(record.summary)
    if record.state is IncidentState.CLOSED:
        return text
    if record.worth_knowing:
        text.append(f"\n{UNDER}beside it: {fmt.count(len(record.worth_knowing), 'anomaly')} only worth knowing", "dim")
    for reason in record.known_reasons:
        text.append(f"\n{UNDER}no advice: {reason}", "yellow")
    for one in record.runs_out:
        text.append(f"\n{UNDER}runs out: {runs_out(one)}", "yellow")
    return text


def _outcome_line(record: Outcome, clock: Clock) -> Text:
    text = _start(clock(record.at), "outcome", _OUTCOME_STYLE.get(record.result, "yellow"))
    return text.append(f"{record.result} ", "bold").append(f"{record.rule}: ").append(compared(record))


def _muting_line(record: Muting, clock: Clock) -> Text:
    text = _start(clock(record.at), "muted", "yellow").append(f"{record.service or 'all services'} ", "bold")
    return text.append(f"{', '.join(record.signals)} until {record.until:%Y-%m-%d %H:%M %Z}  {record.reason}".rstrip())


def _start(time: str, what: str, style: str) -> Text:
    return Text(f"{time}  ", "dim").append(f"{what:<9}", style)
