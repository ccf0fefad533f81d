"""`duri feedback`: answer a recommendation."""

from __future__ import annotations

import asyncio
import enum
import getpass
import json
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import Annotated

import typer
from pydantic import ValidationError

from pipeline.errors import LifecycleError
from pipeline.records import (
    MOVES,
    Feedback,
    Recommendation,
    RecommendationState,
    check_move,
    content_id,
)
from pipeline.runtime.bounded import read_all
from pipeline.runtime.control_log import say
from pipeline.settings import Settings, load_settings
from pipeline.stage import Topic
from pipeline.views.prose import print_prose


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
    said = asyncio.run(_answer(settings, recommendation, verdict, by or _user(), note))
    if as_json:
        typer.echo(said.model_dump_json())
    else:
        print_prose(f"{said.recommendation}: {verdict}; {_THEN[verdict]}")


async def _answer(settings: Settings, prefix: str, verdict: Verdict, by: str, note: str) -> Feedback:
    record = pick(await _known(settings), prefix)
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


async def _known(settings: Settings) -> dict[str, Recommendation]:
    """The newest record of each recommendation that is still in the topic; what cannot be read is passed over."""
    found: dict[str, Recommendation] = {}
    async for record in read_all(settings, Topic.RECOMMENDATIONS):
        try:
            read = Recommendation.model_validate(json.loads(record.value or b"null"))
        except (ValueError, ValidationError):
            continue
        found[read.id] = read
    return found


def pick(known: dict[str, Recommendation], prefix: str) -> Recommendation:
    """The recommendation whose id begins so. Raises typer.BadParameter where none or several do."""
    found = [record for identity, record in known.items() if identity.startswith(prefix)]
    if len(found) == 1 and prefix:
        return found[0]
    if not found:
        raise typer.BadParameter(
            f"no recommendation's id begins with {prefix!r}; `duri watch --from-beginning` shows them",
            param_hint="RECOMMENDATION",
        )
    ids = ", ".join(sorted(record.id for record in found)[:5])
    raise typer.BadParameter(f"{prefix!r} is the beginning of {len(found)} ids: {ids}", param_hint="RECOMMENDATION")


def check(record: Recommendation, verdict: Verdict) -> None:
    """Raise LifecycleError where the recommendation is past such an answer."""
    if verdict in _LEADS_TO:
        check_move(record.state, _LEADS_TO[verdict])
    elif record.state not in MOVES or record.state is RecommendationState.APPLIED:
        raise LifecycleError(f"a recommendation that is {record.state} cannot be snoozed")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return ""
