"""`duri lab`: list the faults, run the system, prove that the advice for each fault is right."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path  # noqa: TC003  typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from lab import limits
from lab.backends import LabError
from lab.faults import FAULTS
from lab.proof import Answer, Proof
from lab.prove import Pace, prove
from lab.recordings import RECORDINGS
from lab.replaying import judged
from lab.replaying import table as table_of_replays
from lab.report import plot, summary, table
from lab.scenarios import SCENARIOS, USUAL, scenario_of
from lab.turning import Wish, ask, the_only_lab
from lab.up import Plan, up
from pipeline.errors import FileError
from pipeline.runtime.children import sigterm_as_ctrl_c
from pipeline.settings import load_settings
from pipeline.views.entries import entries
from pipeline.views.plots import require_plots

if TYPE_CHECKING:
    from lab.faults.fault import Fault

lab = typer.Typer(
    help="A real system on this machine, broken on purpose: is the advice right, and does it help?",
    no_args_is_help=True,
)
_NORMAL = Pace()
ScenarioName = Annotated[
    str, typer.Option(help=f"How many users there are: {', '.join(SCENARIOS)}; the last three are as in the guide.")
]


@lab.command(name="list")
def list_faults() -> None:
    """List the faults and controls, and what is the right advice for each."""
    lacking = limits.why_not()
    Console().print(entries((name, _lines(fault, lacking)) for name, fault in FAULTS.items()))


def _lines(fault: Fault, lacking: str | None) -> tuple[Text, str]:
    """The right advice: what it finds and the knob; what is wrong."""
    advice = Text.assemble((fault.finding, "yellow"), f"  {fault.kind}") if fault.finding else Text("no advice", "dim")
    needs = " (cannot run here: no cgroups)" if fault.needs_limits and lacking else ""
    return advice, f"{fault.__doc__}{needs}"


@lab.command(name="up")
def keep_up(
    scenario: ScenarioName = USUAL.name,
    *,
    fault: Annotated[str, typer.Option(help="Then inject this fault; `duri lab list` has them.")] = "",
    speed: Annotated[float, typer.Option(min=1, max=10, help="How much faster the lab's clock runs.")] = 1.0,
    kafka: Annotated[
        bool, typer.Option("--kafka", help="Publish on duri.metrics, for `duri run` and `duri watch`.")
    ] = False,
    bootstrap: Annotated[
        str | None,
        typer.Option(
            envvar="DURI_BOOTSTRAP",
            help="With --kafka: host:port of your own broker; without, one of the lab's own with `duri run` beside it.",
        ),
    ] = None,
) -> None:
    """Start the system under load, scrape it, say what is advised, and keep it until Ctrl-C or SIGTERM."""
    if fault:
        _known([fault])
    plan = Plan(scenario_of(scenario), fault, speed, kafka, bootstrap)
    load_settings()  # what is wrong with them is told before anything is started
    sigterm_as_ctrl_c()
    console = Console(soft_wrap=True, highlight=False)
    try:
        asyncio.run(up(plan, console.print))
    except KeyboardInterrupt:
        typer.echo("stopped; nothing of it is left", err=True)


@lab.command(name="turn")
def turn_knob(
    recommendation: Annotated[str, typer.Argument(help="Id of the recommendation; its first characters will do.")] = "",
    *,
    command: Annotated[
        list[str] | None,
        typer.Option(help="Or a command of your own as `VIA: RUN`, such as `env: DB_POOL_SIZE=20`; also several."),
    ] = None,
    service: Annotated[str, typer.Option(help="Whose knob your own command turns.")] = "duri_core",
    undo: Annotated[bool, typer.Option("--undo", help="Run the recommendation's undo.")] = False,
    folder: Annotated[Path | None, typer.Option("--lab", help="Folder of the lab, where several run.")] = None,
) -> None:
    """Turn a knob of the lab that `duri lab up` keeps, by a recommendation's own commands; then it is applied.

    Prints what was run, what is left to people, and every knob that differs since. Exits with 1 where nothing was run.
    """
    if bool(recommendation) == bool(command):
        raise typer.BadParameter("name a recommendation, or a --command of your own")
    wish = Wish(recommendation, undo, service, [_command(text) for text in command or []])
    done = asyncio.run(ask(folder or the_only_lab(), wish))
    for run in done.ran:
        typer.echo(f"ran:      {run}")
    for run in done.left:
        typer.echo(f"left:     {run}")
    for name, (before, after) in done.knobs.items():
        typer.echo(f"{name}: {before} → {after}")
    if done.applied:
        typer.echo(f"said to be applied: {done.applied}")
    if not done.ran:
        raise typer.Exit(1)


def _command(text: str) -> dict[str, str]:
    via, colon, run = text.partition(":")
    if not colon or not run.strip():
        raise typer.BadParameter(f"{text!r} is not `VIA: RUN`, such as `sql: VACUUM events`", param_hint="--command")
    return {"via": via.strip(), "run": run.strip()}


@lab.command(name="prove")
def prove_faults(  # noqa: PLR0913  each is an option of the command
    faults: Annotated[list[str] | None, typer.Argument(help="Faults to run; all where none is named.")] = None,
    *,
    record: Annotated[Path | None, typer.Option(help="Folder for the samples, a Parquet file a fault.")] = None,
    plots: Annotated[Path | None, typer.Option(help="PNG file for a page of plots.")] = None,
    results: Annotated[Path | None, typer.Option(help="File to which a JSON line a fault is appended.")] = None,
    answer: Annotated[
        Answer, typer.Option(help="What is done with the advice; `nothing` and `harm` are said to be it.")
    ] = (Answer.OWN),
    scenario: ScenarioName = USUAL.name,
    speed: Annotated[float, typer.Option(min=1, max=10, help="How much faster the lab's clock runs.")] = _NORMAL.speed,
    kafka: Annotated[
        bool, typer.Option("--kafka", help="Connect the stages by Kafka, in a worker as in production.")
    ] = False,
    after: Annotated[
        float, typer.Option(min=0, help="Wait for the outcome at most so long, s of the lab's clock.")
    ] = _NORMAL.after_s,
) -> None:
    """Break it, wait for the advice, apply its own commands, wait for the outcome (two minutes a fault).

    Prints a table. Exits with 1 where a first choice was wrong, or a control got advice.
    """
    named = faults or list(FAULTS)
    _known(named)
    load = scenario_of(scenario)
    load_settings()  # what is wrong with them is told before anything is started
    if plots is not None:
        require_plots()
    if record is not None:
        record.mkdir(parents=True, exist_ok=True)
    sigterm_as_ctrl_c()
    pace = Pace(speed=speed, scenario=load, after_s=after, answer=answer, kafka=kafka)
    console = Console(stderr=True)
    proofs: list[Proof] = []
    try:
        for number, name in enumerate(named, 1):
            proofs.append(_prove(name, record, pace, console, f"{number}/{len(named)} "))
            if results is not None:
                with results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(proofs[-1]), allow_nan=False) + "\n")
    finally:  # a fault that breaks the lab itself, or Ctrl-C, takes nothing from those before it
        if proofs:
            _show(proofs, plots)
    if not all(proof.right for proof in proofs if proof.skipped is None):
        raise typer.Exit(1)


@lab.command(name="replay")
def replay_recordings(
    recordings: Annotated[
        list[Path] | None,
        typer.Argument(help="Files that `prove --record` wrote, or folders of them; left out, our own."),
    ] = None,
) -> None:
    """Send recorded runs through the stages again: seconds a run, no lab needed.

    Prints a table. Exits with 1 where a first choice or a verdict is wrong, or a control gets advice.
    """
    paths = [path for place in recordings or [RECORDINGS] for path in _files(place)]
    found = []
    with Console(stderr=True).status("") as status:
        for number, path in enumerate(paths, 1):
            status.update(f"{number}/{len(paths)} {path.stem}")
            found.append(judged(path))
    Console().print(table_of_replays(found))
    if not all(one.right and one.as_true for one in found):
        raise typer.Exit(1)


def _files(place: Path) -> list[Path]:
    found = sorted(place.glob("*.parquet")) if place.is_dir() else [place]
    if not found:
        raise FileError(f"{place} has no recordings; `duri lab prove --record {place}` makes them")
    return found


@lab.command(name="show")
def show_results(
    results: Annotated[Path, typer.Argument(help="What `prove --results` wrote.")],
    plots: Annotated[Path | None, typer.Option(help="PNG file for a page of plots.")] = None,
) -> None:
    """Print the table of earlier runs again; the last one of each fault and answer counts."""
    try:
        lines = results.read_text(encoding="utf-8").splitlines()
        told = [Proof(**json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError) as error:
        raise FileError(f"{results} is not what `duri lab prove --results` writes: {error}") from error
    _show(list({(one.fault, one.answer, one.kafka, one.scenario): one for one in told}.values()), plots)


def _show(proofs: list[Proof], plots: Path | None) -> None:
    console = Console()
    console.print(table(proofs, console.width))
    console.print(summary(proofs), highlight=False)
    if plots is not None:
        plot(plots, proofs)


def _prove(name: str, record: Path | None, pace: Pace, console: Console, place: str) -> Proof:
    with console.status(f"{place}{name}: starting") as status:

        def say(text: str) -> None:
            status.update(f"{place}{text}")

        if not console.is_terminal:
            console.print(f"{place}{name}")
        return asyncio.run(prove(FAULTS[name], record, pace, say))


def _known(named: list[str]) -> None:
    unknown = [name for name in named if name not in FAULTS]
    if unknown:
        raise LabError(f"no such fault: {', '.join(unknown)}; there are: {', '.join(FAULTS)}")
