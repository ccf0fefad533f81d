"""What the commands of `duri bench` share."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from models.online.bank import Bank
from pipeline import quantities as fmt
from pipeline.detect.configuration import load_detection
from pipeline.errors import FileError
from pipeline.settings import load_settings
from pipeline.views.plots import PlottedSeries, plot_pages, require_plots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from models.trials.events import JudgedEvents
    from models.trials.nab import JudgedNab


PlotsOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Draw one page of plots a group of series into this folder.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")]
ConfigOption = Annotated[Path | None, typer.Option(help="Settings file.")]


def default_bank(config: Path | None) -> Callable[[], Bank]:
    """Maker of the learners that detection runs with these settings. Raises SettingsError."""
    settings = load_settings(config)
    return partial(Bank, load_detection(settings.config_dir, settings.detect, partitions=1).bank)


@contextmanager
def readable() -> Iterator[None]:
    """What a corpus cannot give becomes one clear message. Raises FileError."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise FileError(str(error)) from error


def check_plots(folder: Path | None) -> None:
    """Say at once, not after the work, that plots cannot be drawn. Raises MissingExtraError."""
    if folder is not None:
        require_plots()


def draw(folder: Path, judged: Sequence[JudgedNab] | Sequence[JudgedEvents], console: Console) -> None:
    """Draw a page a group, and say where they are."""
    series = [
        PlottedSeries(one.file.name, one.file.ts, one.file.values, one.file.labels, one.verdicts, one.start)
        for one in judged
    ]
    with console.status("drawing") as status:
        pages = plot_pages(folder, series, lambda page: status.update(f"drawing: {page} is done"))
    console.print(f"{fmt.count(len(pages), 'page')} of plots in {folder}", highlight=False)


def table(title: str, *columns: str, caption: str | None = None) -> Table:
    """A table whose first column is text and whose others are figures."""
    made = Table(
        title=title, caption=caption, box=box.SIMPLE_HEAD, padding=0, pad_edge=False,
        title_justify="left", caption_justify="left", title_style="bold",
    )  # fmt: skip
    for number, name in enumerate(columns):
        made.add_column(name, justify="right" if number else "left", no_wrap=True)
    return made


def show(*tables: Table) -> None:
    """Print tables one below the other."""
    console = Console()
    for one in tables:
        console.print(one)
        console.print()


def figure(number: float | None, digits: int = 1) -> str:
    """A figure with so many decimals."""
    return fmt.NOTHING if number is None else f"{number:.{digits}f}"


def share(number: float | None) -> str:
    """A share as percent, whole."""
    return fmt.NOTHING if number is None else f"{number:.0%}"


EVENT_COLUMNS = ("found", "right", "prec", "rec", "F1", "delay", "false", "alarm")
"""Heads of `event_cells`."""
EVENT_CAPTION = (
    "found: of the labelled events; right: of the alarms; prec, rec: precision, recall; delay: median, samples; "
    "false: false alarms a series-day; alarm: share of the samples in alarm"
)


def event_cells(figures: dict[str, Any]) -> list[str]:
    """Event figures under `EVENT_COLUMNS`."""
    alarmed = figures["in_alarm"]
    return [
        f"{figures['found']}/{figures['events']}",
        f"{figures['right']}/{figures['alarms']}",
        figure(figures["precision"], 2),
        figure(figures["recall"], 2),
        figure(figures["f1"], 3),
        figure(figures["delay_samples"], 0),
        figure(figures["false_alarms_per_day"], 2),
        fmt.NOTHING if alarmed is None else f"{alarmed:.1%}",
    ]
