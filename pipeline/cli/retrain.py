"""`duri retrain`: from what flowed to a better model that is live, as one command for cron. Each run goes on.

1 catch up  the last move, where its author was stopped before the workers heard of it
2 judge     the version that an earlier run has put into the shadow: promote it, wait, or take it out
3 export    what has come since
4 train     and evaluate, unless that was done already for this data
5 shadow    the new version, if the gate has nothing against its evaluation
"""

from __future__ import annotations

import asyncio
import enum
import json
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer
from rich.console import Console

from pipeline.cli.dataset import export_shown
from pipeline.cli.model_moves import Bootstrap, Wait, gate, say
from pipeline.cli.model_options import AsJson, Config, Registry, Who, author
from pipeline.cli.moving import Mover
from pipeline.cli.train import learners_of, track_as_configured
from pipeline.offline.dataset.kafka import Options
from pipeline.offline.dataset.reading import Dataset
from pipeline.offline.dataset.staging import Request
from pipeline.offline.training.recipe import load_recipe
from pipeline.offline.training.train import train
from pipeline.registry.gate import SHADOW, SHADOW_HOURS, unfit
from pipeline.registry.pointers import Action
from pipeline.registry.store import Store
from pipeline.settings import load_settings
from pipeline.views.prose import print_prose

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.cli.moving import Told
    from pipeline.offline.training.recipe import Recipe
    from pipeline.registry.manifest import ModelManifest
    from pipeline.registry.pointers import Author, Move
    from pipeline.settings import Settings

_WAIT_S: Final = 15.0
_HOUR_MS: Final = 3_600_000
_WHY: Final = "duri retrain"
"""Reason of its moves; the shadow that somebody else has set up is theirs."""


class Outcome(enum.StrEnum):
    """How far a run came."""

    PROMOTED = "promoted"
    WAITING = "waiting"
    NOT_DUE = "not due"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    SHADOWED = "shadowed"


class Result(NamedTuple):
    """The version that the outcome is about, and why it is no other."""

    outcome: Outcome
    version: str | None
    reasons: tuple[str, ...] = ()


class Plan(NamedTuple):
    """What to train on which data, and when."""

    recipe: Recipe
    data: Path
    seed: int
    new_hours: float
    if_due: bool


def retrain(  # noqa: PLR0913  each is an option of the command
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a shipped recipe, or a YAML file.")],
    *,
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="The dataset, new or to add to.")],
    seed: Annotated[int, typer.Option(min=0, help="As of `duri train`.")] = 0,
    new_hours: Annotated[
        float, typer.Option(min=0, help="Train only where so much event time has come since the last training.")
    ] = 1.0,
    if_due: Annotated[
        bool, typer.Option("--if-due", help="Train only where none is live, or detect has said that it is due.")
    ] = False,
    who: Who = None,
    bootstrap: Bootstrap = None,
    wait: Wait = _WAIT_S,
    as_json: AsJson = False,
    registry: Registry = None,
    config: Config = None,
) -> None:
    """Export what has come, train, evaluate, and put the new version into the shadow; promote it a day later.

    One step at a time: repeat it daily, by cron for instance. Each run first judges the version that the run before
    has put into the shadow: if the gate agrees it becomes live. A run that was stopped is gone on with by the next.
    """
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap, "models.registry": registry})
    plan = Plan(load_recipe(recipe, settings.config_dir), data, seed, new_hours, if_due)
    run = _Run(settings, plan, author(who, _WHY), wait, quiet=as_json)
    outcome, version, reasons = run.result()
    name = plan.recipe.name
    if as_json:
        typer.echo(json.dumps({"model": name, "outcome": outcome, "version": version, "reasons": list(reasons)}))
        return
    typer.echo(f"{name} {version or ''}".rstrip() + f": {outcome}")
    for reason in reasons:
        print_prose(f"  {reason}")


class _Run:
    """One run for one model."""

    def __init__(self, settings: Settings, plan: Plan, by: Author, wait_s: float, *, quiet: bool) -> None:
        self._settings = settings
        self._plan = plan
        self._by = by
        self._quiet = quiet
        self._console = Console(stderr=True)
        self._mover = Mover(settings, Store(settings.models.registry), plan.recipe.name, wait_s)

    def result(self) -> Result:
        """Do all that can be done now."""
        # 1 catch up
        self._say(self._mover.catch_up())
        # 2 judge
        judged = self._judge()
        if judged is not None:
            return judged
        live = self._mover.log.pointers().live
        if self._plan.if_due and live is not None and self._mover.due(live) is None:
            return Result(Outcome.NOT_DUE, live)
        # 3 export
        dataset = self._export()
        # 4 train
        version = self._known(dataset) or self._train(dataset)
        track_as_configured(self._settings, self._mover.store, self._mover.model, version)
        if any(move.version == version for move in self._mover.log.moves()):
            reason = "no training since, and it has had its time in the shadow"
            return Result(Outcome.UNCHANGED, version, (reason,))
        current = None if live is None else self._manifest(live)
        against = unfit(self._manifest(version), current, self._settings.models.margin)
        if against:
            return Result(Outcome.REFUSED, version, against)
        # 5 shadow
        self._mover.check(version)
        self._make(lambda: self._mover.log.shadow(version, self._by), self._by)
        return Result(Outcome.SHADOWED, version)

    def _judge(self) -> Result | None:
        """What is to be said of the version in the shadow; None where there is none any more."""
        log, shadow = self._mover.log, self._mover.log.pointers().shadow
        if shadow is None:
            return None
        put = [move for move in log.moves() if move.action is Action.SHADOW and move.version == shadow][-1]
        if put.why != _WHY:
            reason = f"{put.who} has put it into the shadow; promote or withdraw it with `duri models`"
            return Result(Outcome.WAITING, shadow, (reason,))
        against = gate(self._mover, shadow)
        if not against:
            self._make(lambda: log.promote(shadow, self._by), self._by)
            return Result(Outcome.PROMOTED, shadow)
        if self._mover.shadow_metrics(shadow).get(SHADOW, 0.0) < SHADOW_HOURS:
            return Result(Outcome.WAITING, shadow, against)
        by = self._by.model_copy(update={"why": f"{_WHY}: {'; '.join(against)}"})
        self._make(lambda: log.withdraw(by), by)
        return None

    def _export(self) -> Dataset:
        self._note(f"exporting into {self._plan.data}")
        asyncio.run(export_shown(self._settings, self._plan.data, Request(source="kafka"), Options()))
        return Dataset(self._plan.data)

    def _known(self, dataset: Dataset) -> str | None:
        """The version that this recipe has made of this data, or of nearly all of it."""
        recipe, least = self._plan.recipe.model_dump(mode="json"), dataset.span.end - self._plan.new_hours * _HOUR_MS
        for version in reversed(self._mover.store.versions(self._mover.model)):
            training = self._manifest(version).training
            same = {name: value for name, value in training.recipe.items() if name != "chosen"} == recipe
            if same and training.seed == self._plan.seed and (training.end > least or training.end == dataset.span.end):
                return version
        return None

    def _train(self, dataset: Dataset) -> str:
        plan, learners = self._plan, learners_of(self._settings)
        trained = train(dataset, plan.recipe, self._mover.store, seed=plan.seed, learners=learners, report=self._note)
        self._note(f"registered {trained.version}; card: {trained.card}")
        return trained.version

    def _manifest(self, version: str) -> ModelManifest:
        return self._mover.store.manifest(self._mover.model, version)

    def _make(self, move: Callable[[], Move], by: Author) -> None:
        self._say(self._mover.make(move, by))

    def _say(self, told: Told | None) -> None:
        if told is not None and not self._quiet:
            say(told)

    def _note(self, step: str) -> None:
        self._console.print(step, highlight=False)
