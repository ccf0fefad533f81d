"""`duri deadletter`: what could not be read, and sending it back once the cause is gone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.records import from_ms
from pipeline.runtime.deadletter_log import DeadLetterLog
from pipeline.runtime.deadletter_memory import Selection
from pipeline.runtime.deadletter_replay import Replayed
from pipeline.runtime.deadletter_replay import replay as send_back
from pipeline.settings import load_settings
from pipeline.views import format as fmt

if TYPE_CHECKING:
    from pipeline.runtime.deadletter_log import Letter
    from pipeline.settings import Settings

_FIRST_BYTES = 60

deadletter = typer.Typer(help="List what could not be read, and send it back.", no_args_is_help=True)

Bootstrap = Annotated[str | None, typer.Option(help="host:port of the broker.")]
Config = Annotated[Path | None, typer.Option(help="Settings file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@deadletter.command("list")
def list_letters(
    *,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The newest so many.")] = 20,
    as_json: AsJson = False,
    bootstrap: Bootstrap = None,
    config: Config = None,
) -> None:
    """Show the newest dead letters, the newest last: when, why, where from and how they begin."""
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    letters = asyncio.run(_newest(settings, limit))
    if as_json:
        for letter in letters:
            typer.echo(json.dumps(_plain(letter), ensure_ascii=False))
    elif letters:
        Console().print(_table(letters))
    else:
        typer.echo("no dead letters")


@deadletter.command()
def replay(
    *,
    everything: Annotated[bool, typer.Option("--all", help="All letters.")] = False,
    reason: Annotated[str | None, typer.Option(help="Letters of this reason only.")] = None,
    offset: Annotated[
        str | None, typer.Option(metavar="[PARTITION/]OFFSET", help="This letter only, as `list` shows it.")
    ] = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Also letters that were sent back before.")
    ] = False,
    as_json: AsJson = False,
    bootstrap: Bootstrap = None,
    config: Config = None,
) -> None:
    """Send dead letters back to the topics they came from: original bytes, key and headers, each letter once."""
    if sum((everything, reason is not None, offset is not None)) != 1:
        raise typer.BadParameter("say which letters: one of --all, --reason and --offset")
    selection = Selection(reason, None if offset is None else parse_place(offset), from_beginning)
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    result = asyncio.run(_replay(settings, selection))
    if as_json:
        counts = {"sent": result.sent.total(), "to": dict(result.sent), "sent_before": result.before}
        typer.echo(json.dumps({**counts, "unaddressed": result.unaddressed}))
        return
    for line in _words(result):
        typer.echo(line)


def parse_place(text: str) -> tuple[int, int]:
    """`PARTITION/OFFSET`, or `OFFSET` in partition 0. Raises typer.BadParameter."""
    partition, slash, offset = text.rpartition("/")
    if not offset.isdecimal() or not (partition.isdecimal() if slash else not partition):
        raise typer.BadParameter(f"{text!r} is no place: give 17, or 0/17", param_hint="--offset")
    return int(partition or 0), int(offset)


async def _newest(settings: Settings, limit: int) -> list[Letter]:
    async with DeadLetterLog(settings) as log:
        return await log.newest(limit)


async def _replay(settings: Settings, selection: Selection) -> Replayed:
    async with DeadLetterLog(settings) as log:
        return await send_back(settings, log, selection)


def _plain(letter: Letter) -> dict[str, object]:
    error = letter.error
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "time": from_ms(letter.timestamp).isoformat(),
        "reason": letter.reason,
        "message": error.get("message"),
        "stage": error.get("stage"),
        "origin": {name: error.get(name) for name in ("topic", "partition", "offset")},
        "key": None if letter.key is None else letter.key.decode("utf-8", "replace"),
        "bytes": len(letter.value or b""),
        "first_bytes": first_bytes(letter.value or b""),
    }


def first_bytes(value: bytes) -> str:
    """How a letter begins: text as it is, anything else as Python writes bytes."""
    start = value[:_FIRST_BYTES]
    text = start.decode("utf-8", "replace")
    return text if text.isprintable() and "\ufffd" not in text else repr(start)[2:-1]


def _table(letters: list[Letter]) -> Table:
    table = Table("place", "time (UTC)", "reason", "came from", "message", "first bytes")
    for letter in letters:
        error = letter.error
        cells = (
            f"{letter.partition}/{letter.offset}",
            f"{from_ms(letter.timestamp):%Y-%m-%d %H:%M:%S}",
            letter.reason,
            f"{error.get('topic', '?')}/{error.get('partition', '?')} @ {error.get('offset', '?')}",
            error.get("message", ""),
            first_bytes(letter.value or b""),
        )
        # As text: brackets in what others sent are no markup, and the terminal must not obey it.
        table.add_row(*(Text("".join(c if c.isprintable() else " " for c in cell)) for cell in cells))
    return table


def _words(result: Replayed) -> list[str]:
    sent = [f"{fmt.count(number, 'letter')} sent back to {topic}" for topic, number in sorted(result.sent.items())]
    notes = []
    if result.before:
        notes.append(f"{fmt.count(result.before, 'letter')} sent back before; --from-beginning sends them again")
    if result.unaddressed:
        notes.append(f"{fmt.count(result.unaddressed, 'letter')} left alone: they do not say where they came from")
    return [*(sent or ["nothing to send back"]), *notes]
