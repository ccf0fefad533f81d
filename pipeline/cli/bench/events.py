"""`duri bench events`: the learners on a folder of labelled series."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from models.corpora import load_labelled
from models.replay import replay
from models.trials.events import READINGS, JudgedEvents, events_report
from pipeline.cli.bench.common import (
    EVENT_CAPTION,
    EVENT_COLUMNS,
    ConfigOption,
    JsonOption,
    PlotsOption,
    check_plots,
    default_bank,
    draw,
    event_cells,
    figure,
    readable,
    show,
    table,
)
from pipeline.views.progress import sample_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

    from models.corpora import LabelledFile
    from models.online.bank import Bank


def events(
    *,
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of domain/series.csv with the columns TimeStamp, Value, Label.")
    ],
    plots: PlotsOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Judge the default learners on labelled series in which trouble comes back.

    An event is a run of samples labelled 1; it is found if an alarm lies within two samples of it. Alarms at most two
    samples apart are one; it is right if it lies within two samples of an event. The first 15 % of a series do not
    count. Printed for the alarms as they are raised, by domain and in total; and with each domain at the threshold that
    was best on the other domains.
    """
    check_plots(plots)
    console = Console(stderr=True)
    make = default_bank(config)
    with readable():
        files = load_labelled(data)
    judged = _judge(make, files, console)
    report = events_report(judged)
    if plots is not None:
        draw(plots, judged, console)
    if as_json:
        typer.echo(json.dumps(report))
    else:
        show(_raised(report), _left_out(report))


def _judge(make: Callable[[], Bank], files: Sequence[LabelledFile], console: Console) -> list[JudgedEvents]:
    judged = []
    with sample_progress(console, sum(len(file.ts) for file in files)) as report:
        done = 0
        for file in files:
            judged.append(JudgedEvents(file, replay(make, file.ts, file.values)))
            done += len(file.ts)
            report(done)
    return judged


def _raised(report: dict[str, Any]) -> Table:
    made = table(
        f"Alarms as raised, {report['series']} series, {report['samples']:,} samples",
        "domain", *EVENT_COLUMNS, caption=EVENT_CAPTION,
    )  # fmt: skip
    for name, one in report["domains"].items():
        made.add_row(name, *event_cells(one))
    made.add_section()
    made.add_row("all", *event_cells(report["raised"]))
    return made


def _left_out(report: dict[str, Any]) -> Table:
    made = table(
        "F1, each domain left out in turn",
        "domain", "raised", "ranked", "from", "scores", "from",
        caption="ranked: raised alarms, one threshold on their first score; scores: the score of each sample, one "
        "threshold. From: that threshold, as it is best on the other domains. Best: at the best one of all, in sample",
    )  # fmt: skip
    for name, one in report["domains"].items():
        parts = [one["left_out"].get(reading, {}) for reading in READINGS]
        made.add_row(name, figure(one["f1"], 3), *_pairs(parts))
    made.add_section()
    left_out = [report["left_out"].get(reading, {}) for reading in READINGS]
    made.add_row("all", figure(report["raised"]["f1"], 3), *_pairs(left_out))
    made.add_row("best", "", *_pairs([report["best"][reading] for reading in READINGS]))
    return made


def _pairs(parts: Sequence[dict[str, Any]]) -> list[str]:
    return [cell for part in parts for cell in (figure(part.get("f1"), 3), figure(part.get("threshold"), 3))]
