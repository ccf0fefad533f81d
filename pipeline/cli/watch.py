"""`duri watch`: anomalies, incidents, recommendations and outcomes in the terminal, as they come."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from models.online.tuning import Tuning
from pipeline.runtime.clients import connection
from pipeline.runtime.logs import configure_logging
from pipeline.settings import load_settings
from pipeline.views.pulse_reader import PulseReader
from pipeline.views.stream import JsonStream, RecordStream, WordStream
from pipeline.views.subscription import Subscription

if TYPE_CHECKING:
    from pipeline.settings import Settings


def watch(
    *,
    json: Annotated[bool, typer.Option("--json", help="One line of JSON a record.")] = False,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Everything that is still there.")] = False,
    seconds: Annotated[
        float | None, typer.Option("--for", min=0.0, help="End after so many seconds; left out, at Ctrl-C.")
    ] = None,
    bootstrap: Annotated[str | None, typer.Option(help="host:port of the broker.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Show what the pipeline finds and recommends, live, and whether samples come; it changes nothing."""
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    configure_logging(settings.runtime)
    stream = JsonStream(sys.stdout) if json else WordStream(Console())
    try:
        asyncio.run(_follow(settings, stream, from_beginning=from_beginning, seconds=seconds))
    except BrokenPipeError:
        # The reader (head, less) has seen enough; the interpreter must not try to flush to it again.
        sys.stderr.close()


async def _follow(settings: Settings, stream: RecordStream, *, from_beginning: bool, seconds: float | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    client = connection(settings.kafka)
    async with (
        Subscription(client, settings.topics, from_beginning=from_beginning) as subscription,
        PulseReader(client, settings.topics, _learning_s(settings)) as samples,
    ):
        with stream, suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not stop.is_set():
                    stream.show(await subscription.poll(), unreadable=subscription.unreadable)
                    stream.beat(samples.seen())


def _learning_s(settings: Settings) -> float:
    """For how long a service that is new is only learned from; priors make it shorter."""
    usual = Tuning()
    return max(usual.warmup_s, usual.warmup_samples * settings.detect.frame_s)
