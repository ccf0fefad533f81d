"""`duri replay`: play recorded samples back through Kafka."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipeline import quantities as fmt
from pipeline.runtime.clients import connection
from pipeline.runtime.logs import configure_logging
from pipeline.settings import load_settings
from pipeline.sources.publisher import Publisher
from pipeline.sources.recording import Naming
from pipeline.sources.replay import play, read
from pipeline.stage import Topic
from pipeline.views.progress import sample_progress

if TYPE_CHECKING:
    from pipeline.settings import Settings
    from pipeline.sources.recording import Recording


def replay(
    files: Annotated[list[Path], typer.Argument(help="CSV or Parquet files: timestamp, value; or the long form.")],
    *,
    speed: Annotated[
        str, typer.Option(help="Times real time: 1, 60, …; max is as fast as the broker takes it.")
    ] = "max",
    name: Annotated[
        str | None, typer.Option(help="Metric name of files that hold one series; left out, by the file's name.")
    ] = None,
    service: Annotated[
        str | None, typer.Option(help="Service of files that hold one series; left out, the file's name.")
    ] = None,
    bootstrap: Annotated[str | None, typer.Option(help="host:port of the broker.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Publish recorded samples on duri.metrics, all files together in order of time.

    The long form has the columns timestamp, service, name, labels (JSON or k=v;k=v) and value. Missing values are
    left out and counted.
    """
    factor = parse_speed(speed)
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    configure_logging(settings.runtime)
    console = Console(stderr=True)
    recording = read(files, Naming(name, service))
    seconds = asyncio.run(_publish(settings, recording, factor, console))
    missing = f"; left out: {fmt.count(recording.missing, 'missing value')}" if recording.missing else ""
    published = f"{fmt.count(len(recording), 'sample')} of {len(recording.series)} series published"
    console.print(f"{published} in {fmt.seconds(seconds)}{missing}", highlight=False)


def parse_speed(text: str) -> float | None:
    """Event seconds per second, or None for `max`. Raises typer.BadParameter."""
    if text == "max":
        return None
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        raise typer.BadParameter(f"{text!r} is not a speed: give max or a number above 0", param_hint="--speed")
    return factor


async def _publish(settings: Settings, recording: Recording, speed: float | None, console: Console) -> float:
    topic = settings.topics.name(Topic.METRICS)
    async with Publisher(connection(settings.kafka), topic) as publisher:
        with sample_progress(console, len(recording)) as report:
            lanes = settings.topics.samples_partitions
            return await play(recording, publisher, lanes=lanes, speed=speed, report=report)
