"""`duri run`: the stages over Kafka, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import enum
import logging
import os
import signal
import sys
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from pipeline.errors import DuriError
from pipeline.runtime.logs import configure_logging
from pipeline.runtime.memory import collect_seldom, give_large_arrays_back
from pipeline.runtime.stages import build_specs
from pipeline.runtime.worker import run_worker, steps_in_hand
from pipeline.settings import load_settings
from pipeline.views.prose import print_prose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.settings import Settings

_PATIENCE_S = 0.5
"""For threads that have nothing in hand to notice that they are not needed."""

log = structlog.get_logger(__name__)


class StageName(enum.StrEnum):
    """What can be run by itself."""

    INGEST = "ingest"
    DETECT = "detect"
    ADVISE = "advise"


def run(
    stages: Annotated[list[StageName] | None, typer.Argument(help="Stages to run; left out, all three.")] = None,
    *,
    bootstrap: Annotated[str | None, typer.Option(help="host:port of the broker.")] = None,
    http_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port of /healthz, /readyz and /metrics; 0 picks a free one.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Run stages of the pipeline until SIGTERM or Ctrl-C; start more of them anywhere to share the work."""
    overrides = {"kafka.bootstrap": bootstrap, "runtime.http_port": http_port}
    settings = load_settings(config, overrides=overrides)
    configure_logging(settings.runtime)
    give_large_arrays_back()
    collect_seldom()
    # Each once, in the order of the flow, however they were named.
    names = [name.value for name in StageName if not stages or name in stages]
    try:
        asyncio.run(_run(settings, names))
    except DuriError as error:
        leave(error)
        raise
    leave(None)


def leave(failure: DuriError | None) -> None:
    """End the process here if a step is still running: Python would wait for its thread, however long that takes.

    Its transaction is aborted, so the step happens again wherever its partition goes.
    """
    if not steps_in_hand(_PATIENCE_S):
        return
    log.warning("a step does not end; leaving without it")
    if failure is not None:
        print_prose(f"duri: {failure}", err=True)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if failure is None else failure.exit_status)


async def _run(settings: Settings, names: Sequence[str]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run_worker(settings, build_specs(settings, names), stop)
