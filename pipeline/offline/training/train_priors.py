"""From frames to registered priors: what is usual for each kind of signal, with which new series start warm.

1 known     the online learners run over the first part of the time; what they know of each series is its statistics
2 fit       an estimator of these for each signal; where parameters are searched, those that do best on the second part
3 evaluate  on the third: every day each service is new once, cold, with the priors of the other services, and with
            the live version's
4 register  the estimators by signal, with the card

A budget of false alarms is not the priors' own: they are to raise no more than new series raise without them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.offline import priors
from models.offline.bootstrap import Interval, f1_difference
from pipeline.errors import FileError
from pipeline.offline.backends import SERIAL
from pipeline.offline.dataset.times import Span
from pipeline.offline.training.card import plots_shown
from pipeline.offline.training.card_plots import first_days_plot
from pipeline.offline.training.evaluating import LIVE, NEW, NONE
from pipeline.offline.training.fitting import split_of
from pipeline.offline.training.newcomers import GROUPS, Fleet, fitted, judge, known
from pipeline.offline.training.registering import Origin, Trained, live_version, manifest_of, register
from pipeline.registry import artefact, gate
from pipeline.registry.manifest import FeatureSchema
from pipeline.registry.pointers import PointerLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from pipeline.offline.backends import Workers
    from pipeline.offline.training.blocks import Blocks, Learners
    from pipeline.offline.training.newcomers import KnownSeries, Newcomers
    from pipeline.offline.training.recipe import Recipe
    from pipeline.registry.manifest import ModelManifest
    from pipeline.registry.store import Store

    Floats = npt.NDArray[np.float64]
    Series = Mapping[str, Sequence[KnownSeries]]

_FEWEST_SERVICES: Final = priors.FEWEST + 1


def train_priors(
    blocks: Blocks,
    recipe: Recipe,
    store: Store,
    seed: int,
    learners: Learners,
    workers: Workers = SERIAL,
    report: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Train the recipe on the frames of these services and register the priors with their card.

    Raises FileError where there are too few services or too little normal data, SettingsError where the recipe does not
    fit.
    """
    dataset = blocks.dataset
    if len(blocks.services) < _FEWEST_SERVICES:
        raise FileError(
            f"{dataset.folder}: has {len(blocks.services)} services, {_FEWEST_SERVICES} are needed: the priors of each "
            "are judged by what the others let expect; export a range with more"
        )
    spans = split_of(dataset.span, recipe)
    fleet = Fleet(blocks, learners, recipe.injected, seed)
    report(f"fitting on {spans['fit']}")
    series = known(fleet, spans["fit"])
    candidates = list(recipe.candidates(seed))
    calls = [(fleet, spans["calibrate"], series, estimator) for _, estimator in candidates]
    scores = workers.map(_f1, calls) if len(calls) > 1 else [0.0]
    chosen, estimator = candidates[int(np.argmax(scores))]
    report(f"evaluating on {spans['evaluate']}")
    live = live_version(store, recipe.name)
    compared = _live(store, recipe.name, blocks.signals)
    found = judge(fleet, spans["evaluate"], {NONE: None, NEW: _of_others(fleet, series, estimator), **compared})
    if not found.starts[NEW]:
        raise FileError(f"{spans['evaluate']}: is too short for a new series' first day; export a longer range")
    metrics, intervals = _worth(found, seed)
    estimators = fitted(estimator, series)
    data = artefact.dump(estimators)
    schema = FeatureSchema(version=priors.VERSION, names=priors.names_of(tuple(estimators)))
    used = Span(spans["fit"].start, spans["evaluate"].end)
    origin = Origin(recipe, chosen, seed, dataset, used, live if compared else None)
    manifest = manifest_of(origin, data, schema, metrics, None)
    tried = [(parameters, score) for (parameters, _), score in zip(candidates, scores, strict=True)]
    return register(store, blocks.dataset, manifest, data, _card(manifest, spans, found, intervals, tried))


def _of_others(fleet: Fleet, series: Series, estimator: Any) -> dict[int, Floats]:
    """Priors of each group of services, from the others."""
    signals = fleet.blocks.signals
    return {group: priors.table(fitted(estimator, series, group), signals) for group in range(GROUPS)}


def _f1(fleet: Fleet, span: Span, series: Series, estimator: Any) -> float:
    return judge(fleet, span, {NEW: _of_others(fleet, series, estimator)}).total(NEW).f1


def _live(store: Store, name: str, signals: tuple[str, ...]) -> dict[str, Mapping[int, Floats]]:
    """The live version's priors, the same for every group: it may know the services it is judged on."""
    version = PointerLog(store, name).pointers().live
    manifest = None if version is None else store.manifest(name, version)
    if version is None or manifest is None or manifest.features.version != priors.VERSION:
        return {}
    return {LIVE: dict.fromkeys(range(GROUPS), priors.table(store.estimator(name, version), signals))}


def _worth(found: Newcomers, seed: int) -> tuple[dict[str, float], dict[str, Interval]]:
    new = _table(found, NEW)
    intervals: dict[str, Interval] = {
        who: f1_difference(new, _table(found, who), np.random.default_rng(seed))
        for who in (NONE, LIVE)
        if who in found.starts
    }
    total = found.total(NEW)
    names = {NONE: gate.AGAINST_NONE, LIVE: gate.AGAINST_LIVE}
    metrics = {
        gate.F1: total.f1,
        "precision": total.precision,
        "recall": total.recall,
        "events": float(total.events),
        gate.FALSE_ALARMS: found.false_alarms_a_day(NEW),
        gate.BUDGET: found.false_alarms_a_day(NONE),
        **{names[who]: interval.low for who, interval in intervals.items()},
    }
    return metrics, intervals


def _table(found: Newcomers, who: str) -> Floats:
    counts = [one.events for one in found.starts[who]]
    return np.array([(one.found, one.events, one.right, one.episodes) for one in counts], dtype=np.float64)


def _figures(found: Newcomers, who: str) -> dict[str, float]:
    total = found.total(who)
    return {
        "f1": total.f1,
        "recall": total.recall,
        "false_alarms_in_first_hour": found.false_alarms_in_first_hour(who),
        "false_alarms_in_first_day": found.false_alarms_a_day(who),
    }


def _card(
    manifest: ModelManifest,
    spans: Mapping[str, Span],
    found: Newcomers,
    intervals: Mapping[str, Interval],
    tried: Sequence[tuple[dict[str, Any], float]],
) -> dict[str, bytes]:
    figures = {who: _figures(found, who) for who in found.starts}
    plain = {
        "model": manifest.model_dump(mode="json"),
        "version": manifest.version,
        "spans": {name: str(span) for name, span in spans.items()},
        "first_days": {"starts": len(found.starts[NEW]), **figures},
        "f1_differences": {name: interval._asdict() for name, interval in intervals.items()},
        "search": [{"parameters": parameters, "f1": score} for parameters, score in tried],
    }
    plots = first_days_plot(figures, _WORDS)
    text = "\n".join([*_markdown(manifest, spans, figures, intervals), *plots_shown(list(plots))]) + "\n"
    return {"card.md": text.encode(), "card.json": (json.dumps(plain, indent=1) + "\n").encode(), **plots}


_WORDS: Final = {NONE: "cold", NEW: "these priors", LIVE: "the live priors"}


def _markdown(
    manifest: ModelManifest,
    spans: Mapping[str, Span],
    figures: Mapping[str, Mapping[str, float]],
    intervals: Mapping[str, Interval],
) -> Iterator[str]:
    training = manifest.training
    yield from (f"# {manifest.name} {manifest.version}", "")
    yield (
        f"`{training.recipe['estimator']}` with {training.recipe['chosen']}, seed {training.seed}, on dataset "
        f"`{training.dataset[:16]}`: priors of {len(manifest.features.names)} signals."
    )
    yield from ("", "| part | time (UTC) |", "|---|---|")
    yield from (f"| {name} | {span} |" for name, span in spans.items())
    yield from ("", "## A new series' first day, with anomalies put in", "")
    yield f"| | {' | '.join(_WORDS[who] for who in figures)} |"
    yield "|---|" + "---|" * len(figures)
    for name in figures[NEW]:
        yield f"| {name.replace('_', ' ')} | {' | '.join(f'{one[name]:.3g}' for one in figures.values())} |"
    yield from ("", "| F1 against | difference | 95 % interval |", "|---|---|---|")
    for who, one in intervals.items():
        yield f"| {_WORDS[who]} | {one.difference:+.3f} | {one.low:+.3f} to {one.high:+.3f} |"
