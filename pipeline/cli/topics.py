"""`duri topics`: create the topics of the flow, and see how they stand."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline import quantities as fmt
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.topology import create_topics, describe_topics
from pipeline.settings import load_settings

if TYPE_CHECKING:
    from pipeline.runtime.topology import TopicStatus
    from pipeline.settings import Settings

_WAIT_S = 5.0
_FOR_EVER = -1

topics = typer.Typer(help="Create the topics of the flow, and see how they stand.", no_args_is_help=True)

Bootstrap = Annotated[str | None, typer.Option(help="host:port of the broker.")]
Config = Annotated[Path | None, typer.Option(help="Settings file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@topics.command()
def create(*, bootstrap: Bootstrap = None, config: Config = None, as_json: AsJson = False) -> None:
    """Create the topics that are missing; those that exist are left as they are, and differences reported."""
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    created, statuses = asyncio.run(_create(settings))
    if as_json:
        typer.echo(json.dumps([{"created": created[status.planned.name], **_plain(status)} for status in statuses]))
        return
    for status in statuses:
        typer.echo(f"{'created' if created[status.planned.name] else 'exists':8} {status.planned.name}{_words(status)}")


@topics.command()
def describe(*, bootstrap: Bootstrap = None, config: Config = None, as_json: AsJson = False) -> None:
    """Show each topic of the flow beside what the settings ask for; exit status 1 where one is missing."""
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    statuses = asyncio.run(_describe(settings))
    if as_json:
        typer.echo(json.dumps([_plain(status) for status in statuses]))
    else:
        Console().print(_table(statuses))
    if any(status.partitions is None for status in statuses):
        raise typer.Exit(1)


async def _create(settings: Settings) -> tuple[dict[str, bool], list[TopicStatus]]:
    async with ClusterAdmin(settings.kafka, wait_s=_WAIT_S) as admin:
        created = await create_topics(admin, settings)
        return created, await describe_topics(admin, settings)


async def _describe(settings: Settings) -> list[TopicStatus]:
    async with ClusterAdmin(settings.kafka, wait_s=_WAIT_S) as admin:
        return await describe_topics(admin, settings)


def _plain(status: TopicStatus) -> dict[str, object]:
    return {
        "topic": status.planned.name,
        "role": status.planned.role.value,
        "exists": status.partitions is not None,
        "partitions": status.partitions,
        "configs": {name: status.configs.get(name) for name in status.planned.configs},
        "differences": {name: {"wanted": w, "found": f} for name, (w, f) in status.differences.items()},
    }


def _words(status: TopicStatus) -> str:
    differences = [f"{name} is {found}, not {wanted}" for name, (wanted, found) in status.differences.items()]
    return f": {'; '.join(differences)}" if differences else ""


def _table(statuses: list[TopicStatus]) -> Table:
    table = Table("topic", "partitions", "kept", "differs")
    for status in statuses:
        if status.partitions is None:
            table.add_row(status.planned.name, "-", "", "[red]missing: duri topics create[/red]")
            continue
        table.add_row(status.planned.name, str(status.partitions), _kept(status), _words(status).removeprefix(": "))
    return table


def _kept(status: TopicStatus) -> str:
    if status.configs.get("cleanup.policy") == "compact":
        return "compacted"
    retention = int(status.configs.get("retention.ms", _FOR_EVER))
    return "for ever" if retention == _FOR_EVER else fmt.duration(retention / 1000)
