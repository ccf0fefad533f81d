"""`duri bench nab`: the learners on the Numenta Anomaly Benchmark."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from models.corpora import load_nab
from models.trials.nab import LATER, READINGS, JudgedNab, judge_later, nab_report, nab_spread
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

    from models.corpora import NabFile
    from models.online.bank import Bank

_READINGS_EXPLAINED = (
    "raised: each alarm as it was raised; ranked: raised alarms, one threshold on their score; "
    "scores: the score of each sample, one threshold"
)


def nab(
    *,
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder with NAB's data/ and labels/.")],
    plots: PlotsOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Judge the default learners on NAB v1.1.

    Prints the standard, reward-low-FP and reward-low-FN scores of the alarms as they are raised and of the scores with
    one threshold over all series (the best, as NAB allows); the standard score with each category at the threshold that
    was best on the other categories; its spread where the series begin a few samples later; and events found, alarms
    that were right, delay and false alarms by category.
    """
    check_plots(plots)
    console = Console(stderr=True)
    make = default_bank(config)
    with readable():
        files = load_nab(data)
    judged, later = _judge(make, files, console)
    report = {**nab_report(judged), "spread": nab_spread([judged, *later])}
    if plots is not None:
        draw(plots, judged, console)
    if as_json:
        typer.echo(json.dumps(report))
    else:
        show(_profiles(report), _left_out(report), _events(report))


def _judge(
    make: Callable[[], Bank], files: Sequence[NabFile], console: Console
) -> tuple[list[JudgedNab], list[list[JudgedNab]]]:
    """Verdicts on all series, and on all of them begun later."""
    starts: list[list[JudgedNab]] = []
    with sample_progress(console, sum(len(file.ts) for file in files) * (1 + len(LATER))) as report:
        done = 0
        for rows in (0, *LATER):
            judged = []
            for file in files:
                judged.append(judge_later(make, file, rows))
                done += len(file.ts)
                report(done)
            starts.append(judged)
    return starts[0], starts[1:]


def _profiles(report: dict[str, Any]) -> Table:
    made = table(
        f"NAB, {report['series']} series, {report['samples']:,} samples",
        "", "standard", "low FP", "low FN", "mean", "least", "greatest",
        caption=f"{_READINGS_EXPLAINED}. 100 is perfect, 0 is silence. "
        f"Mean, least, greatest: standard over {1 + len(LATER)} starts, 0 to {LATER[-1]} samples later",
    )  # fmt: skip
    for reading in READINGS:
        scores, spread = report["profiles"][reading], report["spread"][reading]
        profiles = [scores[name] for name in ("standard", "reward_low_fp", "reward_low_fn")]
        made.add_row(reading, *(figure(score) for score in (*profiles, *spread.values())))
    return made


def _left_out(report: dict[str, Any]) -> Table:
    made = table(
        "NAB standard, each category left out in turn",
        "category", "series", "raised", "ranked", "from", "scores", "from",
        caption="from: the one free choice, the threshold, as it is best on the other categories. A category without "
        "labelled windows has no score; its false alarms count in the total",
    )  # fmt: skip
    for name, one in report["categories"].items():
        parts = [one.get(f"left_out_{reading}", {}) for reading in ("ranked", "scores")]
        cells = [cell for part in parts for cell in (figure(part.get("standard")), figure(part.get("threshold"), 3))]
        made.add_row(name, str(one["series"]), figure(one["raised"]), *cells)
    made.add_section()
    total = report["left_out"]
    raised = figure(report["profiles"]["raised"]["standard"])
    made.add_row("all", str(report["series"]), raised, figure(total.get("ranked")), "", figure(total.get("scores")), "")
    return made


def _events(report: dict[str, Any]) -> Table:
    made = table("NAB's windows as events, alarms as raised", "category", *EVENT_COLUMNS, caption=EVENT_CAPTION)
    for name, one in report["categories"].items():
        made.add_row(name, *event_cells(one))
    made.add_section()
    made.add_row("all", *event_cells(report["events"]))
    return made
