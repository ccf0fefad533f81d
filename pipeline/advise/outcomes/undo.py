"""The undo of a change that made things worse, as a recommendation of its own."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from pipeline import quantities as fmt
from pipeline.advise.outcomes.standing import Standing
from pipeline.advise.rules.words import in_words
from pipeline.records import (
    Change,
    Effect,
    Evidence,
    How,
    Recommendation,
    RecommendationState,
    Severity,
    Verification,
    Why,
    content_id,
    from_ms,
    to_ms,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.advise.outcomes.harm import Harmed
    from pipeline.advise.outcomes.standing import Board

_CONFIDENCE: Final = 0.95
"""The harm was measured, right after the change, by a test that is wrong in one healthy pair of thirteen at most."""
_AFTER_S: Final = 300.0


def propose_undo(
    board: Board, regressed: Standing, harmed: Harmed, observed: float | None, units: Mapping[str, str], now: int
) -> None:
    """Put up the undo of a recommendation that regressed; it stands until somebody answers or it expires.

    `units` by signal, for the words.
    """
    record, before = regressed.record, _before(regressed, harmed.service)
    standing = Standing(
        record=_undo_of(regressed, harmed, observed, units, now),
        incident=regressed.incident,
        onset=regressed.applied or now,
        began=harmed.since,
        matched=now,
        emitted=now,
        usual=dict(before),
        before=dict(before),
        undoes=record.id,
    )
    if (older := board.about(standing.key)) is not None:
        board.end(older, RecommendationState.SUPERSEDED, now, cool=False)
    board.open(standing)
    board.emit(standing, now)


def _told(change: Change) -> str:
    """What was recommended, in words."""
    return fmt.value(change.recommended, change.unit or "")


def _before(regressed: Standing, service: str) -> dict[str, float]:
    """Signals of the service as they were before the change; of one that only shares it, medians of its window."""
    window = next((other.before for other in regressed.others if other.service == service), None)
    return regressed.before if window is None else {name: median(values) for name, values in window.items() if values}


def _undo_of(
    regressed: Standing, harmed: Harmed, observed: float | None, units: Mapping[str, str], now: int
) -> Recommendation:
    record, before = regressed.record, _before(regressed, harmed.service)
    mended = in_words(harmed.gone, units, before)
    lifetime = to_ms(record.expires) - to_ms(record.created)
    change = record.change
    return Recommendation(
        id=content_id("undo", record.id, now),
        kind=f"{record.kind}.undo",
        category="rollback",
        created=from_ms(now),
        updated=from_ms(now),
        expires=from_ms(now + lifetime),
        target=record.target.model_copy(update={"service": harmed.service}),
        state=RecommendationState.PROPOSED,
        severity=max(record.severity, Severity.WARNING, key=lambda severity: severity.rank),
        rank=1,
        confidence=_CONFIDENCE,
        why=Why(
            findings=["CHANGE_REGRESSED"],
            reason=f"Since {change.parameter} was changed to {_told(change)} ({record.id}): {harmed.text}.",
            evidence=[
                Evidence(
                    signal=harmed.signal,
                    observed=observed,
                    expected=before.get(harmed.signal),
                    window_start=from_ms(regressed.applied or now),
                    window_end=from_ms(now),
                    contribution=1.0,
                    note="expected is what was before the change; the outcome has both windows",
                )
            ],
            incident=regressed.incident,
        ),
        change=Change(
            parameter=change.parameter,
            current=change.recommended,
            recommended=change.current if change.current is not None else "as before",
            unit=change.unit,
        ),
        how=How(commands=record.undo, restart_required=record.how.restart_required),
        effect=Effect(
            signal=harmed.signal, text="What the change brought goes again.", basis="measured after the change"
        ),
        risk="low",
        risk_note="The problem that the change was to mend is back.",
        undo=record.how.commands,
        verification=Verification(
            signal=harmed.signal,
            condition=harmed.gone,
            after_s=_AFTER_S,
            text=f"{mended}, {fmt.duration(_AFTER_S)} after the undo",
        ),
        provenance=record.provenance,
        links=record.links,
    )
