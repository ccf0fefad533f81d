"""A match of a rule, written out as the recommendation that a person reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pipeline import quantities as fmt
from pipeline.advise.rules.expressions import references
from pipeline.advise.rules.rule import fill, placeholders
from pipeline.advise.rules.words import in_words
from pipeline.detect.stage import MODEL_VERSION
from pipeline.records import (
    Command,
    Effect,
    Evidence,
    How,
    Provenance,
    Recommendation,
    RecommendationProvenance,
    RecommendationState,
    Severity,
    Target,
    Verification,
    Why,
    content_id,
    from_ms,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipeline.advise.incidents.incident import OpenIncident
    from pipeline.advise.rules.catalogue import Catalogue
    from pipeline.advise.rules.judge import Match
    from pipeline.advise.rules.rule import CommandTemplate


_MOST_NAMES: Final = 5


class Moment(NamedTuple):
    """When something is said, and until when it holds (ms)."""

    now: int
    expires: int


def draft(match: Match, incident: OpenIncident, catalogue: Catalogue, moment: Moment, rank: int) -> Recommendation:
    """A new recommendation, proposed now."""
    rule = match.entry.rule
    return Recommendation(
        id=content_id("recommendation", match.key, incident.id, moment.now),
        kind=rule.kind,
        category=rule.category,
        created=from_ms(moment.now),
        updated=from_ms(moment.now),
        expires=from_ms(moment.expires),
        target=target_of(match),
        state=RecommendationState.PROPOSED,
        severity=incident.severity,
        rank=rank,
        confidence=match.confidence,
        why=explain(match, incident, catalogue),
        change=match.change,
        how=How(
            commands=_commands(rule.commands, match.values),
            restart_required=rule.restart_required,
            prerequisites=[fill(text, match.values) for text in rule.prerequisites],
        ),
        effect=Effect(signal=rule.effect.signal, text=fill(rule.effect.text, match.values), basis=rule.effect.basis),
        risk=rule.risk,
        risk_note=fill(rule.risk_note, match.values),
        undo=_commands(rule.undo, match.values),
        verification=_verification(match, catalogue.units()),
        provenance=provenance(match),
        links=list(rule.links),
    )


def redraft(record: Recommendation, match: Match, incident: OpenIncident, catalogue: Catalogue) -> Recommendation:
    """The same standing recommendation with what is known now: target, id, state and dates stay."""
    fresh = draft(match, incident, catalogue, Moment(0, 0), record.rank)
    kept = ("id", "target", "created", "updated", "expires", "state", "rank")
    return fresh.model_copy(update={name: getattr(record, name) for name in kept})


def target_of(match: Match) -> Target:
    """What would be changed, and whose it is."""
    target = match.entry.rule.target
    return Target(
        service=match.facts.service,
        component=target.component,
        resource=target.resource,
        shared_by=list(match.services),
    )


def explain(match: Match, incident: OpenIncident, catalogue: Catalogue) -> Why:
    """Finding, reason and evidence of a match."""
    rule = match.entry.rule
    return Why(
        findings=[rule.finding],
        reason="".join((_reason(match), _assumptions(match, catalogue), _hindrance(match))),
        evidence=[_evidence(match, incident, catalogue, name, weight) for name, weight in match.weights.items()],
        anomalies=sorted(anomaly.id for anomaly in match.facts.frame.anomalies),
        changes=sorted(str(change["id"]) for change in match.facts.latest.values()),
        incident=incident.id,
        runs_out=list(match.facts.runs_out),
    )


def provenance(match: Match) -> RecommendationProvenance:
    """Rule, the learners' version and the input frame."""
    rule, source = match.entry.rule, match.facts.frame.source
    return RecommendationProvenance(
        rule=rule.id,
        rule_version=rule.version,
        model_version=MODEL_VERSION,
        inputs=[Provenance(topic=source.topic, partition=source.partition, offset=source.offset)],
    )


def undo_text(record: Recommendation) -> str:
    """The undo in one line."""
    return "; ".join(f"{command.via}: {command.run}" for command in record.undo)


def raise_severity(record: Recommendation, severity: Severity) -> Recommendation:
    """The record with this severity where it is the graver one."""
    return record if severity.rank <= record.severity.rank else record.model_copy(update={"severity": severity})


def _evidence(match: Match, incident: OpenIncident, catalogue: Catalogue, name: str, weight: float) -> Evidence:
    facts = match.facts
    window = {"window_start": from_ms(min(incident.opened, facts.frame.ends)), "window_end": from_ms(facts.frame.ends)}
    if name in catalogue.settings:
        entry = catalogue.settings[name]
        note = f"assumed ({entry.basis}): no gauge tells it" if name in facts.assumed else "settings gauge"
        return Evidence(
            signal=name,
            observed=facts.settings[name],
            expected=None,
            unit=entry.unit,
            contribution=weight,
            note=note,
            **window,
        )
    return Evidence(
        signal=name,
        observed=facts.frame.signals[name].value,
        expected=facts.usual.get(name),
        unit=catalogue.signals.get(name, ""),
        contribution=weight,
        note="expected is what was usual before the incident",
        **window,
    )


def _reason(match: Match) -> str:
    """The rule's sentence; about what services share it names them all."""
    whose = {"service": fmt.listed(_few(match.services))} if match.services else {}
    return fill(match.entry.rule.reason, {**match.values, **whose})


def _few(names: Sequence[str]) -> list[str]:
    """As many names as a sentence takes."""
    rest = len(names) - _MOST_NAMES
    return [*names] if rest <= 0 else [*names[:_MOST_NAMES], f"{rest} more"]


def _assumptions(match: Match, catalogue: Catalogue) -> str:
    """A sentence that names the settings of which the reason speaks although no gauge tells them; empty without any."""
    rule = match.entry.rule
    formulas = {"current": rule.change.current or "", **rule.values}
    spoken = [formulas.get(name, "") for name in placeholders(rule.reason)]
    asked = {key for formula in spoken for kind, key in references(formula) if kind == "settings"}
    named = [
        f"{name} {fmt.value(match.facts.settings[name], catalogue.settings[name].unit)}"
        for name in sorted(asked & match.facts.assumed)
    ]
    return f" Assumed, since no gauge tells: {', '.join(named)}." if named else ""


def _hindrance(match: Match) -> str:
    """A sentence that says why not to apply it yet; empty where nothing is in the way."""
    return f" Not before that is mended: {match.hindered}, a reason to take this change back." if match.hindered else ""


def _commands(templates: Iterable[CommandTemplate], values: Mapping[str, str]) -> list[Command]:
    return [Command(via=template.via, run=fill(template.run, values)) for template in templates]


def _verification(match: Match, units: Mapping[str, str]) -> Verification:
    check = match.entry.rule.verification
    told = fmt.duration(check.settle_s + check.after_s)
    text = f"{in_words(check.condition, units, match.facts.signals())}, {told} after the change"
    if check.abort_if:
        text += f"; take it back where {in_words(check.abort_if, units)}"
    return Verification(
        text=text,
        signal=match.verified_by,
        condition=check.condition,
        after_s=check.after_s,
        settle_s=check.settle_s,
        abort_if=check.abort_if or "",
    )
