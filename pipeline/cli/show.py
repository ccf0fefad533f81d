"""`duri show`: a recommendation in full, with its incident, the other choices and what came of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console

from pipeline.cli.recommendations import known, pick
from pipeline.records import Incident, Outcome
from pipeline.runtime.bounded import read_all
from pipeline.settings import load_settings
from pipeline.stage import Topic
from pipeline.views.in_full import in_full

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.records import Recommendation
    from pipeline.settings import Settings

    Read = TypeVar("Read", Incident, Outcome)


class Found(NamedTuple):
    """A recommendation and what is around it."""

    record: Recommendation
    others: list[Recommendation]
    """Those of the same incident, the first choice first."""
    incident: Incident | None
    outcome: Outcome | None


def show(
    recommendation: Annotated[str, typer.Argument(help="Id of the recommendation; its first characters will do.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the four as one JSON object.")] = False,
    bootstrap: Annotated[str | None, typer.Option(help="host:port of the broker.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Show a recommendation in full: evidence, commands, undo, how it is judged, its incident and what came of it."""
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    with Console(stderr=True).status("reading the recommendations"):
        found = asyncio.run(_find(settings, recommendation))
    if as_json:
        typer.echo(json.dumps(_plain(found)))
    else:
        Console().print(in_full(*found))


async def _find(settings: Settings, prefix: str) -> Found:
    everything = await known(settings)
    record = pick(everything, prefix)
    about = record.why.incident
    others = [one for one in everything.values() if about and one.why.incident == about and one.id != record.id]
    return Found(
        record,
        sorted(others, key=lambda one: (one.rank, one.id)),
        await _newest(settings, Topic.INCIDENTS, Incident, lambda one: one.id == about),
        await _newest(settings, Topic.OUTCOMES, Outcome, lambda one: one.recommendation == record.id),
    )


async def _newest(settings: Settings, topic: Topic, kind: type[Read], wanted: Callable[[Read], bool]) -> Read | None:
    """The last of these records; those of other kinds, and what cannot be read, are passed over."""
    found = None
    async for record in read_all(settings, topic):
        try:
            read = kind.model_validate_json(record.value or b"")
        except ValidationError:
            continue
        found = read if wanted(read) else found
    return found


def _plain(found: Found) -> dict[str, object]:
    return {
        "recommendation": found.record.model_dump(mode="json"),
        "others": [one.model_dump(mode="json") for one in found.others],
        "incident": found.incident and found.incident.model_dump(mode="json"),
        "outcome": found.outcome and found.outcome.model_dump(mode="json"),
    }
