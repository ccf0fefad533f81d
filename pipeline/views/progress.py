"""A progress bar for work of a known size, with its rate and the time left; lines where there is no terminal."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pipeline import quantities as fmt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from rich.console import Console


class Report(Protocol):
    """Takes how much is done so far."""

    def __call__(self, done: int, *, total: int | None = None, counted: int | None = None) -> None:
        """`total` where it is known only now; `counted` where what people count is not what measures the work."""
        ...


def sample_progress(console: Console, total: int) -> AbstractContextManager[Report]:
    """Progress of work on so many samples."""
    return work_progress(console, total, "samples")


@contextmanager
def time_progress(console: Console, begin_ms: int, end_ms: int) -> Iterator[Callable[[int, int], None]]:
    """Gives a function to tell the event time reached (ms) and the samples so far; shows the same as below."""
    with work_progress(console, end_ms - begin_ms, "samples") as report:
        yield lambda reached_ms, samples: report(reached_ms - begin_ms, counted=samples)


@contextmanager
def work_progress(console: Console, total: int, unit: str) -> Iterator[Report]:
    """Gives a function to tell how much is done so far; shows the share, the rate in `unit` and the time left."""
    with (_bar if console.is_terminal else _lines)(console, total, unit) as report:
        yield report


@contextmanager
def _bar(console: Console, total: int, unit: str) -> Iterator[Report]:
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[words]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("left", style="dim"),
    )
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total or None, words="")

        def report(done: int, *, total: int | None = None, counted: int | None = None) -> None:
            words = _words(done if counted is None else counted, time.monotonic() - began, unit)
            progress.update(task, completed=done, words=words, total=total)

        yield report


@contextmanager
def _lines(console: Console, total: int, unit: str) -> Iterator[Report]:
    began = time.monotonic()
    said = 0
    whole = total

    def report(done: int, *, total: int | None = None, counted: int | None = None) -> None:
        nonlocal said
        size = total or whole
        if size and done * 10 // size > said:
            said = done * 10 // size
            words = _words(done if counted is None else counted, time.monotonic() - began, unit)
            left = (time.monotonic() - began) * (size - done) / done
            console.print(f"{fmt.percent(done / size)}  {words}, {fmt.seconds(left)} left", highlight=False)

    yield report


def _words(done: int, seconds: float, unit: str) -> str:
    return f"{fmt.compact(done)} {unit}, {fmt.scaled(done / seconds) if seconds else 0}/s"
