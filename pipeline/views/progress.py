"""A progress bar for work on samples, by their number or by their time; lines where there is no terminal."""

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
    with _shown(console, total) as report:
        yield lambda done: report(done, done)


@contextmanager
def time_progress(console: Console, begin_ms: int, end_ms: int) -> Iterator[Callable[[int, int], None]]:
    """Gives a function to tell the event time reached (ms) and the samples so far; shows the same as above."""
    with _shown(console, end_ms - begin_ms) as report:
        yield lambda reached_ms, samples: report(reached_ms - begin_ms, samples)


@contextmanager
def _shown(console: Console, total: int) -> Iterator[Callable[[int, int], None]]:
    with (_bar if console.is_terminal else _lines)(console, max(total, 1)) as report:
        yield report


@contextmanager
def _bar(console: Console, total: int) -> Iterator[Callable[[int, int], None]]:
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

        def report(done: int, samples: int) -> None:
            progress.update(task, completed=done, words=_words(samples, time.monotonic() - began))

        yield report


@contextmanager
def _lines(console: Console, total: int) -> Iterator[Callable[[int, int], None]]:
    began = time.monotonic()
    said = 0

    def report(done: int, samples: int) -> None:
        nonlocal said
        if done * 10 // total > said:
            said = done * 10 // total
            words = _words(samples, time.monotonic() - began)
            console.print(f"{fmt.percent(done / total)}  {words}", highlight=False)

    yield report


def _words(samples: int, seconds: float) -> str:
    return f"{fmt.compact(samples)} samples, {fmt.scaled(samples / seconds) if seconds else 0}/s"
