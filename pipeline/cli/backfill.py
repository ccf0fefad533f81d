"""`duri backfill`: warm the learners from history."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipeline import quantities as fmt
from pipeline.cli import prometheus as shared
from pipeline.cli.times import parse_duration, parse_moment
from pipeline.runtime.logs import configure_logging
from pipeline.settings import load_settings
from pipeline.sources.backfill import Span, remaining
from pipeline.sources.backfill import backfill as publish_span
from pipeline.views.progress import time_progress

if TYPE_CHECKING:
    from pipeline.sources.bridge import Published
    from pipeline.sources.positions import PositionedPublisher
    from pipeline.sources.prometheus import PrometheusReader

backfill = typer.Typer(help="Warm the learners from history.", no_args_is_help=True)


@backfill.callback()
def _group() -> None:
    """Warm the learners from history."""


@backfill.command()
def prometheus(  # noqa: PLR0913  a command's options are its parameters
    *,
    url: shared.Url,
    begin: Annotated[str, typer.Option("--from", help="Beginning: a time, or 7d for seven days ago.")],
    end: Annotated[str, typer.Option("--to", help="End: a time, a duration ago, or now.")] = "now",
    match: shared.Match = None,
    delay: shared.Delay = "10s",
    name: shared.Name = None,
    token_file: shared.TokenFile = None,
    bootstrap: Annotated[str | None, typer.Option(help="host:port of the broker.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Publish what a Prometheus server has stored, in order of time, each sample once.

    Interrupted, it goes on where it stopped when it is started again. A bridge of the same --url and --match goes on
    where it ends. Do it before anything newer is published: samples older than what a series has seen are dropped.
    """
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    matches = match or []
    reader = shared.make_reader(settings, url, matches, token_file)
    wall_ms = round(time.time() * 1000)
    wanted = Span(parse_moment(begin, wall_ms, "--from"), parse_moment(end, wall_ms, "--to"))
    if wanted.after_ms >= wanted.until_ms:
        raise typer.BadParameter("--from is not before --to", param_hint="--from")
    delay_ms = round(parse_duration(delay, "--delay") * 1000)
    configure_logging(settings.runtime)
    console = Console(stderr=True)

    async def run() -> None:
        async with shared.make_publisher(settings, name or shared.source_name(url, matches)) as publisher:
            await _publish(reader, publisher, wanted, delay_ms, settings.topics.samples_partitions, console)

    asyncio.run(run())


async def _publish(
    reader: PrometheusReader,
    publisher: PositionedPublisher,
    wanted: Span,
    delay_ms: int,
    lanes: int,
    console: Console,
) -> None:
    stored_ms = await asyncio.to_thread(reader.now_ms) - delay_ms
    span = remaining(publisher, Span(wanted.after_ms, min(wanted.until_ms, stored_ms)))
    if span.after_ms >= span.until_ms:
        console.print("nothing to do: all of it was published before", highlight=False)
        return
    if span.after_ms > wanted.after_ms:
        console.print(f"going on {fmt.seconds((span.after_ms - wanted.after_ms) / 1000)} after --from", highlight=False)
    began = time.monotonic()
    with time_progress(console, *span) as report:
        done = await publish_span(reader, publisher, span, lanes, report)
    console.print(_words(done, span, time.monotonic() - began), highlight=False)


def _words(done: Published, span: Span, took_s: float) -> str:
    rate = fmt.scaled(done.samples / took_s) if took_s else "0"
    text = (
        f"{fmt.count(done.samples, 'sample')} of {fmt.seconds((span.until_ms - span.after_ms) / 1000)} published "
        f"in {fmt.seconds(took_s)} ({rate}/s)"
    )
    left_out = f"; left out: {fmt.count(done.missing, 'value')} without a number (NaN, infinities, ends of series)"
    return f"{text}{left_out}" if done.missing else text
