"""`duri bridge`: keep publishing what another system holds."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import Annotated

import typer
from structlog import get_logger

from pipeline.cli import prometheus as shared
from pipeline.cli.times import parse_duration, parse_moment
from pipeline.runtime.logs import configure_logging
from pipeline.settings import load_settings
from pipeline.sources.backoff import Backoff
from pipeline.sources.bridge import Bridge, Pace
from pipeline.stage import Topic

log = get_logger(__name__)

bridge = typer.Typer(help="Keep publishing what another system holds.", no_args_is_help=True)


@bridge.callback()
def _group() -> None:
    """Keep publishing what another system holds."""


@bridge.command()
def prometheus(  # noqa: PLR0913  a command's options are its parameters
    *,
    url: shared.Url,
    match: shared.Match = None,
    step: Annotated[str, typer.Option(help="Read this often.")] = "15s",
    delay: shared.Delay = "10s",
    since: Annotated[
        str, typer.Option(help="Where a new source begins: a time, or 1h for an hour ago; an old one goes on.")
    ] = "now",
    name: shared.Name = None,
    token_file: shared.TokenFile = None,
    bootstrap: Annotated[str | None, typer.Option(help="host:port of the broker.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Publish what a Prometheus server stores, each sample once, until SIGTERM or Ctrl-C.

    It goes on where it stopped (or where a backfill of the same --url and --match ended), and waits while Prometheus or
    Kafka are away.
    """
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    matches = match or []
    reader = shared.make_reader(settings, url, matches, token_file)
    source = name or shared.source_name(url, matches)
    since_ms = None if since == "now" else parse_moment(since, round(time.time() * 1000), "--since")
    pace = Pace(parse_duration(step, "--step"), parse_duration(delay, "--delay"), since_ms)
    configure_logging(settings.runtime)

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        work = Bridge(
            reader, lambda: shared.make_publisher(settings, source), pace, Backoff(), settings.topics.samples_partitions
        )
        log.info(
            "the bridge begins",
            url=reader.url,
            match=matches or "all series",
            to=f"{settings.topics.name(Topic.METRICS)} at {settings.kafka.bootstrap}",
            every_s=pace.step_s,
            behind_s=pace.delay_s,
            source=source,
        )
        await work.run(stop)

    asyncio.run(run())
