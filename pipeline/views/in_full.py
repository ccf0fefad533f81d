"""A recommendation in full, for people: what, why, how, what to expect, how it is judged, and how to take it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from pipeline import quantities as fmt
from pipeline.records import MOVES, RecommendationState
from pipeline.views import words
from pipeline.views.entries import entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from pipeline.records import Command, Evidence, Incident, Outcome, Recommendation

_ANSWERABLE: Final = frozenset(MOVES) - {RecommendationState.APPLIED}


def in_full(
    record: Recommendation, others: Sequence[Recommendation], incident: Incident | None, outcome: Outcome | None
) -> RenderableType:
    """All that a person may want to know of it; `others` are those of the same incident."""
    return Group(_head(record), Text(), entries(_sections(record, others, incident, outcome)))


def _head(record: Recommendation) -> Text:
    text = Text(f"{words.subject(record)}: ", "bold").append(words.change(record))
    place = "first choice" if record.rank == 1 else f"choice {record.rank}"
    text.append(f"\n{record.state.value}, {place}, ").append(
        record.severity.value, words.SEVERITY_STYLE[record.severity]
    )
    return text.append(f", {fmt.percent(record.confidence)} sure, {record.risk} risk", "dim")


def _sections(
    record: Recommendation, others: Sequence[Recommendation], incident: Incident | None, outcome: Outcome | None
) -> Iterable[tuple[str, Sequence[str | Text]]]:
    """Name and lines of each part that has something to say."""
    parts: list[tuple[str, Sequence[str | Text]]] = [
        ("id", [record.id, Text(_dates(record), "dim")]),
        ("incident", _incident(record, incident)),
        ("why", [record.why.reason, Text(", ".join(record.why.findings), "dim")]),
        ("shared by", [fmt.listed(record.target.shared_by)]),
        ("evidence", [_evidence(one) for one in record.why.evidence]),
        ("runs out", [words.runs_out(one) for one in record.why.runs_out]),
        ("before", record.how.prerequisites),
        ("how", [*_commands(record.how.commands), *_restart(record)]),
        ("within", [_bounds(record)]),
        ("expect", [record.effect.text, Text(record.effect.basis, "dim")]),
        ("risk", [f"{record.risk}: {record.risk_note}" if record.risk_note else record.risk]),
        ("judged by", _judged(record)),
        ("undo", _commands(record.undo) or ["nothing to undo"]),
        ("answer", [record.answer]),
        ("outcome", [] if outcome is None else [f"{outcome.result}: {words.compared(outcome)}"]),
        ("rank", [record.rank_reason]),
        ("beside it", [_other(one) for one in others]),
        ("read", record.links),
        ("from", [f"rule {record.provenance.rule}, version {record.provenance.rule_version}"]),
        ("then", [words.next_step(record)]),
    ]
    return [(name, lines) for name, lines in parts if any(_plain(line) for line in lines)]


def _plain(line: str | Text) -> str:
    return line if isinstance(line, str) else line.plain


def _dates(record: Recommendation) -> str:
    text = f"since {fmt.date_time(record.created)}, updated {fmt.date_time(record.updated)}"
    return f"{text}, expires {fmt.date_time(record.expires)} UTC" if record.state in _ANSWERABLE else f"{text} UTC"


def _incident(record: Recommendation, incident: Incident | None) -> list[str | Text]:
    if incident is None:
        return [record.why.incident or ""]
    return [incident.summary, Text(f"{incident.id}, {incident.state.value}", "dim")]


def _evidence(one: Evidence) -> Text:
    text = Text(f"{one.signal} ", "bold").append(fmt.value(one.observed, one.unit))
    if one.expected is not None:
        text.append(f" (expected {fmt.value(one.expected, one.unit)})")
    elif one.note:
        text.append(f"  {one.note}", "dim")
    return text.append(f"  weighs {fmt.percent(one.contribution)}" if one.contribution else "", "dim")


def _commands(commands: Sequence[Command]) -> list[str | Text]:
    lines: list[str | Text] = []
    for command in commands:
        lines += [Text(f"{command.via}:", "dim"), *(f"  {line}" for line in command.run.rstrip().splitlines())]
    return lines


def _restart(record: Recommendation) -> list[Text]:
    return [Text("takes a restart", "yellow")] if record.how.restart_required else []


def _bounds(record: Recommendation) -> str:
    lower, upper, unit = record.change.lower, record.change.upper, record.change.unit
    if lower is None and upper is None:
        return ""
    least = "" if lower is None else f"at least {fmt.value(lower, unit)}"
    most = "" if upper is None else f"at most {fmt.value(upper, unit)}"
    return ", ".join(part for part in (least, most) if part)


def _judged(record: Recommendation) -> list[str | Text]:
    """In words where there are some, else as the rule has it."""
    check = record.verification
    if check.text:
        return [check.text]
    lines: list[str | Text] = [f"{check.signal}, {_when(record)}", Text(" ".join(check.condition.split()), "dim")]
    return lines + ([Text(f"made worse where {' '.join(check.abort_if.split())}", "dim")] if check.abort_if else [])


def _when(record: Recommendation) -> str:
    check = record.verification
    settle = (
        f"what comes in the first {fmt.duration(check.settle_s)} after the change does not count, "
        if check.settle_s
        else ""
    )
    return f"{settle}{fmt.duration(check.settle_s + check.after_s)} after it"


def _other(one: Recommendation) -> Text:
    text = Text(f"{one.rank}. ").append(words.change(one)).append(f"  {one.state.value}, {one.id}", "dim")
    return text.append(f"\n   {one.rank_reason}" if one.rank_reason else "", "dim")
