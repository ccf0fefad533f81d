"""`duri feedback`: answer a recommendation."""

from __future__ import annotations

import asyncio
import enum
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.recommendations import known, pick
from pipeline.cli.user import user_name
from pipeline.errors import LifecycleError
from pipeline.records import (
    MOVES,
    Feedback,
    RecommendationState,
    check_move,
    content_id,
)
from pipeline.runtime.control_log import say
from pipeline.settings import load_settings
from pipeline.views.prose import print_prose

if TYPE_CHECKING:
    from pipeline.records import Recommendation
    from pipeline.settings import Settings


class Verdict(enum.StrEnum):
    """What one may say."""

    ACKNOWLEDGED = "acknowledged"
    APPLIED = "applied"
    REJECTED = "rejected"
    FALSE_ALARM = "false-alarm"
    SNOOZE = "snooze"


_LEADS_TO = {
    Verdict.ACKNOWLEDGED: RecommendationState.ACKNOWLEDGED,
    Verdict.APPLIED: RecommendationState.APPLIED,
    Verdict.REJECTED: RecommendationState.REJECTED,
    Verdict.FALSE_ALARM: RecommendationState.REJECTED,
}
_THEN = {
    Verdict.ACKNOWLEDGED: "it is known that somebody looks at it",
    Verdict.APPLIED: "windows before and after are compared now; the outcome comes on duri.outcomes",
    Verdict.REJECTED: "it ends, and its rule ranks lower",
    Verdict.FALSE_ALARM: "it ends, its rule ranks lower, and said twice its signals are quietened",
    Verdict.SNOOZE: "it is held back for the cool-down",
}


def feedback(
    recommendation: Annotated[str, typer.Argument(help="Id of the recommendation; its first characters will do.")],
    verdict: Annotated[Verdict, typer.Argument(help="What you say of it.")],
    *,
    by: Annotated[str | None, typer.Option(help="Who says so; left out, the user of this machine.")] = None,
    note: Annotated[str, typer.Option(help="Why, or what was done.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the feedback as JSON.")] = False,
    bootstrap: Annotated[str | None, typer.Option(help="host:port of the broker.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Answer a recommendation: applied starts its verification, the others end it or hold it back."""
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    said = asyncio.run(_answer(settings, recommendation, verdict, by or user_name(), note))
    if as_json:
        typer.echo(said.model_dump_json())
    else:
        print_prose(f"{said.recommendation}: {verdict}; {_THEN[verdict]}")


async def _answer(settings: Settings, prefix: str, verdict: Verdict, by: str, note: str) -> Feedback:
    record = pick(await known(settings), prefix)
    check(record, verdict)
    now = datetime.now(tz=UTC)
    answer = Feedback(
        id=content_id("feedback", record.id, verdict, by, now),
        at=now,
        recommendation=record.id,
        verdict=verdict.value.replace("-", "_"),
        by=by,
        note=note,
    )
    await say(settings, answer, "/duri/feedback")
    return answer


def check(record: Recommendation, verdict: Verdict) -> None:
    """Raise LifecycleError where the recommendation is past such an answer."""
    if verdict in _LEADS_TO:
        check_move(record.state, _LEADS_TO[verdict])
    elif record.state not in MOVES or record.state is RecommendationState.APPLIED:
        raise LifecycleError(f"a recommendation that is {record.state} cannot be snoozed")
