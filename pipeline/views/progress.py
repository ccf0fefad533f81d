"""A progress bar for work on a known number of samples; lines where there is no terminal."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pipeline.views import format as fmt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console


@contextmanager
def sample_progress(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    """Gives a function to tell how many samples are done so far; shows the share, the rate and the time left."""
    with (_bar if console.is_terminal else _lines)(console, total) as report:
        yield report


@contextmanager
def _bar(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[words]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("left", style="dim"),
    )
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total, words="")
        yield lambda done: progress.update(task, completed=done, words=_words(done, time.monotonic() - began))


@contextmanager
def _lines(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    began = time.monotonic()
    said = 0

    def report(done: int) -> None:
        nonlocal said
        if done * 10 // total > said:
            said = done * 10 // total
            console.print(f"{fmt.percent(done / total)}  {_words(done, time.monotonic() - began)}", highlight=False)

    yield report


def _words(done: int, seconds: float) -> str:
    return f"{fmt.compact(done)} samples, {fmt.scaled(done / seconds) if seconds else 0}/s"
