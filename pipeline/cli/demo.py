"""`duri demo`: the whole flow on this machine, over two generated days in which four things go wrong."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, NoReturn

import msgspec
import typer
from rich.console import Console

from pipeline import quantities as fmt
from pipeline.cli.broker import start_display
from pipeline.cli.demo_run import DemoRun
from pipeline.runtime.broker import EmbeddedBroker
from pipeline.runtime.logs import configure_logging
from pipeline.settings import load_settings
from pipeline.sources.duri_system import DuriSystem, Plan
from pipeline.views.demo_summary import summarise
from pipeline.views.demo_table import print_summary
from pipeline.views.terminal import open_view

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.settings import Settings
    from pipeline.views.terminal import View

_NEVER_S = 1e9
_TERMINATED = 128 + signal.SIGTERM
_DATA = "The samples are generated, faults included: see docs/demo-data.md."


def demo(
    *,
    json: Annotated[bool, typer.Option("--json", help="Only the summary, as JSON on standard output.")] = False,
    days: Annotated[int, typer.Option(min=2, max=14, help="Days to generate; things go wrong on the last.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another two days.")] = 1,
    bootstrap: Annotated[
        str | None,
        typer.Option(envvar="DURI_BOOTSTRAP", help="host:port of your own broker; its topics go again."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Show the whole flow: a broker, a system of four services with faults, what is found, what is recommended.

    Ends by itself with a summary: each fault, who flagged it first, how far ahead of the static rule, which advice.
    """
    began = time.monotonic()
    signal.signal(signal.SIGTERM, _leave)
    console = Console(stderr=json, quiet=json and not sys.stderr.isatty())
    system = DuriSystem(Plan(days=days, seed=seed))
    run = DemoRun(system)
    with open_view(console, _title(system)) as view:
        view.board.total = system.samples
        with _broker(bootstrap, config, view) as settings:
            configure_logging(settings.runtime)
            # A broker that has just started answers "not yet" for a moment; the client asks again, and says so.
            logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
            _run(run, settings, view)
    seconds = time.monotonic() - began
    summary = summarise(_DATA, system.truth(), run.evidence, samples=system.samples, seconds=seconds)
    if json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(summary)) + b"\n")
    else:
        print_summary(console, summary)


def _title(system: DuriSystem) -> str:
    days = fmt.count(system.plan.days, "day")
    return f"DuRi demo: {len(system.plan.services)} services, {system.series} series, {days} of generated samples"


@contextmanager
def _broker(bootstrap: str | None, config: Path | None, view: View) -> Iterator[Settings]:
    """Settings that lead to a broker: the user's, under a prefix of our own, or an embedded one."""
    chosen = {
        "runtime.http_port": 0,
        "runtime.log_level": "error",
        "runtime.commit_interval_s": 0.25,
        # At an hour of event time in half a second, partitions are hours apart at times; none of them is silent.
        "advise.source_timeout_s": _NEVER_S,
    }
    if bootstrap is not None:
        own = f"duri-demo-{secrets.token_hex(4)}"
        chosen |= {"kafka.bootstrap": bootstrap, "topics.prefix": f"{own}.", "runtime.group": own}
        yield load_settings(config, overrides=chosen)
        return
    view.board.status = "starting Apache Kafka"
    view.refresh()
    with start_display() as progress, EmbeddedBroker(progress=progress) as broker:
        yield load_settings(config, overrides={**chosen, "kafka.bootstrap": broker.bootstrap})


def _run(run: DemoRun, settings: Settings, view: View) -> None:
    """Run; SIGTERM ends it like Ctrl-C, through every `finally`, and so it does afterwards."""
    try:
        asyncio.run(_cancelled_by_sigterm(run, settings, view))
    finally:
        signal.signal(signal.SIGTERM, _leave)


async def _cancelled_by_sigterm(run: DemoRun, settings: Settings, view: View) -> None:
    task = asyncio.ensure_future(run.run(settings, view))
    terminated: list[bool] = []

    def end() -> None:
        terminated.append(task.cancel())

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    try:
        await task
    except asyncio.CancelledError:
        if terminated:
            raise typer.Exit(_TERMINATED) from None
        raise


def _leave(*_: object) -> NoReturn:
    """Leave through every `with`: an embedded broker is to be stopped."""
    sys.exit(_TERMINATED)
