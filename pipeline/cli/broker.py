"""`duri broker`: an Apache Kafka on this machine, in the foreground."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from pipeline.runtime.broker import EmbeddedBroker
from pipeline.views.prose import print_prose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from pipeline.runtime.jars import Progress

_LOOK_EVERY_S = 0.5
_LINE_EVERY = 15


def broker(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port on 127.0.0.1; left out, a free one is chosen.")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            file_okay=False, help="Folder to keep the data in, and to go on from; left out, data goes when it stops."
        ),
    ] = None,
    heap_mb: Annotated[int, typer.Option(min=128, help="Java's heap, MB.")] = 256,
) -> None:
    """Run an Apache Kafka on this machine until Ctrl-C or SIGTERM; needs neither Docker nor Java.

    The first line of standard output is its address: `bootstrap: 127.0.0.1:PORT`.
    """
    signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)
    with start_display() as progress, EmbeddedBroker(data_dir, port=port, heap_mb=heap_mb, progress=progress) as kafka:
        typer.echo(f"bootstrap: {kafka.bootstrap}")
        typer.echo(f"for other terminals: export DURI_BOOTSTRAP={kafka.bootstrap}", err=True)
        print_prose(f"data and log: {kafka.folder} ({'kept' if data_dir else 'removed when it stops'})", err=True)
        while kafka.running:
            time.sleep(_LOOK_EVERY_S)
        raise kafka.failure("the embedded broker ended by itself")


def _leave(*_: object) -> NoReturn:
    """Leave through every `with` and `finally`, even while the broker is still starting."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the cleaning up
    sys.exit(0)


@contextmanager
def start_display() -> Iterator[Progress]:
    """Show on standard error what an `EmbeddedBroker` does on its very first start; nothing on the others.

    A bar on a terminal, a line now and then elsewhere. Yields the broker's `progress`.
    """
    display = _Display()
    try:
        yield display
    finally:
        display.close()


class _Display:
    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._tasks: dict[int, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            if done in {0, 1, total} or done % _LINE_EVERY == 0:
                typer.echo(f"embedded broker: {what} ({done} of {total})", err=True)
            return
        if self._bar is None:
            self._bar = _bar()
            self._bar.start()
        if total not in self._tasks:  # one bar for the jars, one for what is made of them
            self._tasks[total] = self._bar.add_task("", total=total)
        self._bar.update(self._tasks[total], completed=done, description=what)
        if done == total:
            self.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = None
        self._tasks.clear()


def _bar() -> Bar:
    from rich.console import Console  # noqa: PLC0415  # only the first start shows anything
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    return Progress(TextColumn("Embedded broker"), *columns, console=Console(stderr=True))
