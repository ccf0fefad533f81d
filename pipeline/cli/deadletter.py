"""`duri deadletter`: what could not be read, sending it back once the cause is gone, and clearing it away."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console

from pipeline.cli.deadletter_words import (
    count_words,
    letter_table,
    letter_words,
    plain_counts,
    plain_letter,
    reason_table,
    replay_words,
)
from pipeline.cli.times import parse_moment
from pipeline.runtime.deadletter_counts import count_by_reason
from pipeline.runtime.deadletter_log import DeadLetterLog, no_such_letter
from pipeline.runtime.deadletter_memory import Selection
from pipeline.runtime.deadletter_purge import purge as clear_away
from pipeline.runtime.deadletter_replay import replay as send_back
from pipeline.settings import load_settings
from pipeline.views.prose import print_prose

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pipeline.runtime.deadletter_counts import ReasonCount
    from pipeline.runtime.deadletter_letter import Letter
    from pipeline.settings import Settings

Result = TypeVar("Result")

deadletter = typer.Typer(help="List what could not be read, send it back, clear it away.", no_args_is_help=True)

Bootstrap = Annotated[str | None, typer.Option(help="host:port of the broker.")]
Config = Annotated[Path | None, typer.Option(help="Settings file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@deadletter.command("list")
def list_letters(
    *,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The newest so many.")] = 20,
    by_reason: Annotated[bool, typer.Option("--by-reason", help="Only count them by reason.")] = False,
    as_json: AsJson = False,
    bootstrap: Bootstrap = None,
    config: Config = None,
) -> None:
    """Count dead letters by reason; then the newest, the newest last: when, why, where from and how they begin."""
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    if by_reason:
        _show_counts(_with_log(settings, count_by_reason), as_json)
        return
    if as_json:
        for letter in _with_log(settings, lambda log: log.newest(limit)):
            typer.echo(json.dumps(plain_letter(letter), ensure_ascii=False))
        return
    with Console(stderr=True).status("reading the dead letters"):
        counts, letters = _with_log(settings, lambda log: _counts_and_newest(log, limit))
    _show_counts(counts, as_json)
    if not letters:
        return
    typer.echo(_newest_words(len(letters), sum(count.letters for count in counts.values())))
    Console().print(letter_table(letters))
    print_prose("`duri deadletter show PLACE` prints one in full; `replay` sends them back once the cause is gone")


async def _counts_and_newest(
    log: DeadLetterLog, limit: int
) -> tuple[dict[str, ReasonCount], list[tuple[Letter, bool]]]:
    """Counts, and the newest letters, each with whether it was sent back."""
    counts, letters = await count_by_reason(log), await log.newest(limit)
    sent_back = {place.partition: await log.memory(place, log.group) for place in log.places}
    return counts, [(letter, sent_back[letter.partition].has(letter)) for letter in letters]


def _newest_words(shown: int, there: int) -> str:
    return (
        f"all {there}, the newest last:" if shown == there else f"the newest {shown} of {there} (--limit shows more):"
    )


def _show_counts(counts: dict[str, ReasonCount], as_json: bool) -> None:
    if as_json:
        for line in plain_counts(counts):
            typer.echo(json.dumps(line, ensure_ascii=False))
    elif counts:
        Console().print(reason_table(counts))
    else:
        print_prose("no dead letters: all that came could be read; `duri watch` shows whether samples come")


@deadletter.command()
def show(
    place: Annotated[str, typer.Argument(metavar="[PARTITION/]OFFSET", help="The letter, as `list` shows it.")],
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Write its bytes, as they were sent, to standard output.")] = False,
    bootstrap: Bootstrap = None,
    config: Config = None,
) -> None:
    """Show one letter in full: where it came from, why it could not be read, key, headers and content."""
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    letter = _with_log(settings, lambda log: _find(log, parse_place(place, "PLACE")))
    if raw:
        sys.stdout.buffer.write(letter.value or b"")
        return
    for line in letter_words(letter):
        typer.echo(line)


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
    """Send dead letters back to the topics they came from: original bytes, key and headers, each letter once.

    What fails again is a new letter; `duri deadletter purge --replayed` clears the old ones.
    """
    if sum((everything, reason is not None, offset is not None)) != 1:
        raise typer.BadParameter("say which letters: one of --all, --reason and --offset")
    single = None if offset is None else parse_place(offset, "--offset")
    selection = Selection(reason, single, again=from_beginning)
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    result = _with_log(settings, lambda log: send_back(settings, log, selection))
    if as_json:
        counts = {"sent": result.sent.total(), "to": dict(result.sent), "sent_before": result.before}
        typer.echo(json.dumps({**counts, "unaddressed": result.unaddressed}))
        return
    for line in replay_words(result):
        typer.echo(line)


@deadletter.command()
def purge(  # noqa: PLR0913  a command's options are its parameters
    *,
    everything: Annotated[bool, typer.Option("--all", help="All letters.")] = False,
    reason: Annotated[str | None, typer.Option(help="Letters of this reason only.")] = None,
    before: Annotated[
        str | None, typer.Option(help="Letters older than this only: a time, or 2d for two days ago.")
    ] = None,
    replayed: Annotated[bool, typer.Option("--replayed", help="Letters that were sent back.")] = False,
    offset: Annotated[
        str | None, typer.Option(metavar="[PARTITION/]OFFSET", help="This letter only, as `list` shows it.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    bootstrap: Bootstrap = None,
    config: Config = None,
) -> None:
    """Clear dead letters away for good, after asking: they are neither shown nor sent back any more.

    --reason and --before may be given together.
    """
    if sum((everything, reason is not None or before is not None, replayed, offset is not None)) != 1:
        raise typer.BadParameter("say which letters: one of --all, --replayed, --offset, or --reason and --before")
    single = None if offset is None else parse_place(offset, "--offset")
    selection = Selection(reason, single, replayed=replayed)
    before_ms = None if before is None else parse_moment(before, round(time.time() * 1000), "--before")
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    counts = _with_log(settings, lambda log: count_by_reason(log, selection, before_ms))
    if not counts:
        typer.echo("nothing to purge")
        return
    if not yes:
        unsent = sum(count.letters - count.sent_back for count in counts.values())
        typer.echo(f"{count_words(counts)}{f' ({unsent} never sent back)' if unsent else ''}")
        typer.confirm("Purge them for good?", abort=True)
    _with_log(settings, lambda log: clear_away(settings, log, selection, before_ms))
    typer.echo(f"purged {count_words(counts)}")


def parse_place(text: str, option: str) -> tuple[int, int]:
    """`PARTITION/OFFSET`, or `OFFSET` in partition 0. Raises typer.BadParameter that names the option."""
    partition, slash, offset = text.rpartition("/")
    if not offset.isdecimal() or not (partition.isdecimal() if slash else not partition):
        raise typer.BadParameter(f"{text!r} is no place: give 17, or 0/17", param_hint=option)
    return int(partition or 0), int(offset)


def _with_log(settings: Settings, work: Callable[[DeadLetterLog], Awaitable[Result]]) -> Result:
    """What the work makes of the dead letters as they are now."""

    async def run() -> Result:
        async with DeadLetterLog(settings) as log:
            return await work(log)

    return asyncio.run(run())


async def _find(log: DeadLetterLog, wanted: tuple[int, int]) -> Letter:
    partition, offset = wanted
    for place in log.places:
        if place.partition == partition:
            async for letters, position in log.read(place, offset):
                for letter in letters:
                    if letter.offset == offset:
                        return letter
                if position > offset:
                    break
    raise no_such_letter(log, wanted)
