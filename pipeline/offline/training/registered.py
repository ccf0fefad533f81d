"""Evaluating a version that is registered, on any dataset whose time it has not learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from pipeline.errors import FileError, ModelError
from pipeline.offline.dataset.reading import Dataset
from pipeline.offline.dataset.times import Span, moment
from pipeline.offline.training.banded import Material, banded
from pipeline.offline.training.blocks import Blocks, Learners
from pipeline.offline.training.card import Subject, card
from pipeline.offline.training.evaluating import NEW, Scorer
from pipeline.offline.training.fitting import split_of
from pipeline.offline.training.recipe import Recipe
from pipeline.offline.training.sought import sought
from pipeline.offline.training.worth import Terms, live_scorer, worth
from pipeline.records import from_ms
from pipeline.registry.admission import signals_of
from pipeline.registry.manifest import EVERY_SERVICE, JUDGES, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipeline.offline.dataset.labels import LabelledWindow
    from pipeline.offline.dataset.times import Moment
    from pipeline.offline.training.sought import Source
    from pipeline.registry.manifest import ModelManifest
    from pipeline.registry.store import Store


class Question(NamedTuple):
    """What is to be evaluated: a version on a time (None: all that it has not learned from), and against what.

    source: where events come from; None: the windows given, else answers, else injected anomalies.
    """

    name: str
    version: str
    start: Moment | None = None
    end: Moment | None = None
    source: Source | None = None
    windows: Sequence[LabelledWindow] = ()
    seed: int = 0


class Evaluated(NamedTuple):
    """The figures by name, and the files of the card."""

    metrics: dict[str, float]
    card: dict[str, bytes]


def evaluate(
    dataset: Dataset | Path | str,
    store: Store,
    question: Question,
    *,
    learners: Learners | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Evaluated:
    """Judge a registered version beside the live one and beside none.

    Raises ModelError for a version that is missing, unusable or no detector, FileError where the time was learned from
    or holds nothing to judge.
    """
    dataset = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
    manifest = store.manifest(question.name, question.version)
    if manifest.kind not in JUDGES or manifest.threshold is None:
        raise ModelError(
            f"{question.name} {question.version}: is a {manifest.kind}; evaluate a detector or a band with a threshold"
        )
    if manifest.services != EVERY_SERVICE:
        dataset = dataset.concerning(manifest.services)
    recipe = _recipe(manifest)
    span = _span(dataset, manifest, recipe, question)
    seek = sought(dataset, span, question.source, question.windows)
    signals = signals_of(manifest)
    injected = round(recipe.injected * dataset.span.days / span.days)
    blocks = Blocks(dataset, signals, injected, question.seed, seek, question.windows)
    scorers = {
        NEW: Scorer(store.estimator(question.name, question.version), manifest.threshold),
        **live_scorer(store, question.name, manifest.features),
    }
    if manifest.kind == Kind.BAND:
        material = Material(dataset, signals, injected, question.seed, seek, question.windows)
        blocks, scorers = banded(material, scorers, span)
    report(f"evaluating on {span}")
    judged = blocks.read(learners or Learners())
    terms = Terms(seek.source, recipe.false_alarm_budget, question.seed)
    found = worth(judged, span, scorers, terms)
    subject = Subject(manifest, {"evaluate": span}, dataset.fingerprint, found.metrics, [])
    return Evaluated(found.metrics, card(subject, found.evaluation, found.intervals))


def _recipe(manifest: ModelManifest) -> Recipe:
    kept = {name: value for name, value in manifest.training.recipe.items() if name != "chosen"}
    try:
        return Recipe.model_validate(kept)
    except ValidationError as error:
        raise ModelError(f"{manifest.name} {manifest.version}: its recipe cannot be read; train it again") from error


def _span(dataset: Dataset, manifest: ModelManifest, recipe: Recipe, question: Question) -> Span:
    """The time asked for, else what the training left for it, else what came after the training."""
    training = manifest.training
    same = dataset.fingerprint == training.dataset
    free_from = split_of(dataset.span, recipe)["evaluate"].start if same else training.end
    start = max(dataset.span.start, free_from) if question.start is None else moment(question.start)
    end = dataset.span.end if question.end is None else moment(question.end)
    span = Span(start, end)
    if start < free_from and end > training.start:
        raise FileError(
            f"{span}: {manifest.name} {manifest.version} has learned from this time up to "
            f"{from_ms(free_from):%Y-%m-%d %H:%M}; evaluate it on what came after"
        )
    if end <= start:
        raise FileError(f"{dataset.folder}: has nothing after what {manifest.name} {manifest.version} has learned from")
    return span
