"""`duri bench synthetic`: the learners on trouble that is made, so that it is known what happens when."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from models.trials.synthetic import Found, Quiet, Scene, run, scenes
from models.trials.troubles import Noise
from pipeline import quantities as fmt
from pipeline.cli.bench.common import ConfigOption, JsonOption, default_bank, figure, share, show, table
from pipeline.views.progress import sample_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

    from models.online.bank import Bank

_STEPS = (1, 15, 60, 3600)


def synthetic(
    *,
    step: Annotated[
        list[int] | None, typer.Option(metavar="SECONDS", help="Only this step: 1, 15, 60 or 3600; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random numbers; another one makes other series.")] = 0,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Judge the default learners on synthetic trouble and on healthy series.

    Spikes, level shifts, trends, variance, flatlines, seasons that are missing, activity that stops, the same trouble
    twenty times: in series of a daily season and noise (Gaussian, and heavy-tailed Student-t), at several steps. Each
    with the share that is found and, of that, the share that is given the right name. False alarms are counted on
    healthy series after the warm-up.
    """
    for one in step or ():
        if one not in _STEPS:
            raise typer.BadParameter(f"{one} is none of {', '.join(map(str, _STEPS))} (seconds)", param_hint="--step")
    make = default_bank(config)
    results = _run(make, scenes(tuple(step or _STEPS), seed), Console(stderr=True))
    found = [one for one in results if isinstance(one, Found)]
    quiet = [one for one in results if isinstance(one, Quiet)]
    if as_json:
        report = {"seed": seed, "found": [one.figures() for one in found], "quiet": [one.figures() for one in quiet]}
        typer.echo(json.dumps(report))
    else:
        show(*(_found(noise, found) for noise in Noise), _quiet(quiet))


def _run(make: Callable[[], Bank], every: Sequence[Scene], console: Console) -> list[Found | Quiet]:
    results: list[Found | Quiet] = []
    done = 0
    with sample_progress(console, sum(scene.samples for scene in every)) as report:
        for scene in every:
            results += run(make, scene)
            done += scene.samples
            report(done)
    return results


_NOISES = {
    Noise.GAUSSIAN: "Gaussian noise",
    Noise.STUDENT_T3: "Student's t noise, 3 degrees of freedom (of 1440 healthy samples 2.7 exceed 6 deviations)",
}


def _found(noise: Noise, results: Sequence[Found]) -> Table:
    steps = sorted({one.step_s for one in results})
    made = table(f"Found (and of that named right), {_NOISES[noise]}", "trouble", *_heads(steps))
    cells = {(one.trouble, one.step_s): one.figures() for one in results if one.noise == noise}
    for trouble in dict.fromkeys(one.trouble for one in results):
        made.add_row(trouble, *(_cell(cells.get((trouble, step))) for step in steps))
    return made


def _heads(steps: Sequence[int]) -> list[str]:
    return [f"every {fmt.seconds(step)}" for step in steps]


def _cell(one: dict[str, Any] | None) -> str:
    return "" if one is None else f"{share(one['found_share'])} ({share(one['named_share'])})"


def _quiet(results: Sequence[Quiet]) -> Table:
    steps = sorted({one.step_s for one in results})
    made = table("False alarms a series-day, healthy series", "series", *_heads(steps))
    cells = {(one.background, one.noise, one.step_s): one.figures() for one in results}
    for background, noise in dict.fromkeys((one.background, one.noise) for one in results):
        row = [cells.get((background, noise, step)) for step in steps]
        rates = ["" if one is None else figure(one["per_series_day"], 3) for one in row]
        made.add_row(f"{background}, {noise.replace('_', ' ')}", *rates)
    return made
