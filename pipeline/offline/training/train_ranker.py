"""From answers to a registered ranker: fit and search, threshold, worth, card; the steps of any training."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.metrics import average_precision_score

from models.offline import anomaly_features
from models.offline.bootstrap import Interval, f1_difference
from pipeline.errors import FileError
from pipeline.offline.backends import SERIAL
from pipeline.offline.dataset.times import Span
from pipeline.offline.training.fitting import split_of
from pipeline.offline.training.ranking import Answered, answered, calibrate, fit, precision_at, rank
from pipeline.offline.training.registering import Origin, Trained, live_version, manifest_of, register
from pipeline.registry import artefact, gate
from pipeline.registry.manifest import FeatureSchema
from pipeline.registry.pointers import PointerLog
from pipeline.registry.reference import reference_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

    from pipeline.offline.backends import Workers
    from pipeline.offline.dataset.reading import Dataset
    from pipeline.offline.training.ranking import FittedRanker
    from pipeline.offline.training.recipe import Recipe
    from pipeline.registry.manifest import ModelManifest
    from pipeline.registry.store import Store

RECALLS = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)


class Worth(NamedTuple):
    """What a ranker is worth on answered anomalies.

    precision: at each of RECALLS, in the order of the ranker and in that of detect's score. intervals: of its F1 over
    showing everything (`none`), and over the live ranker.
    """

    metrics: dict[str, float]
    precision: list[tuple[float, float, float]]
    intervals: dict[str, Interval]


def train_ranker(
    dataset: Dataset,
    recipe: Recipe,
    store: Store,
    seed: int,
    workers: Workers = SERIAL,
    report: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Train the recipe on what people and outcomes said, and register it with its card.

    Raises FileError where too little was said, SettingsError where the recipe does not fit.
    """
    known = answered(dataset)
    spans = split_of(Span(int(known.at[0]), int(known.at[-1]) + 1), recipe)
    report(f"fitting on {spans['fit']}")
    fitted = fit(recipe, known.within(spans["fit"]), seed, workers)
    threshold = calibrate(
        fitted.estimator, known.within(spans["calibrate"]), spans["calibrate"], recipe.false_alarm_budget
    )
    report(f"evaluating on {spans['evaluate']}")
    schema = FeatureSchema(version=anomaly_features.VERSION, names=anomaly_features.NAMES)
    judged = known.within(spans["evaluate"])
    if not judged.matters.any():
        raise FileError(f"{spans['evaluate']}: no anomaly that mattered is there to evaluate on; export a longer range")
    live = live_version(store, recipe.name)
    rankers = {"new": (fitted.estimator, threshold), **_live(store, recipe.name, schema)}
    found = _worth(judged, rankers, spans["evaluate"], recipe.false_alarm_budget, seed)
    data = artefact.dump(fitted.estimator)
    used = Span(spans["fit"].start, spans["evaluate"].end)
    origin = Origin(recipe, fitted.chosen, seed, dataset, used, live if "live" in rankers else None)
    reference = reference_of(recipe.kind, fitted.estimator, schema.names, known.within(spans["fit"]).features)
    manifest = manifest_of(origin, data, schema, found.metrics, threshold, reference=reference)
    return register(store, dataset, manifest, data, _card(manifest, spans, judged, found, fitted))


def _live(store: Store, name: str, schema: FeatureSchema) -> dict[str, tuple[Any, float]]:
    version = PointerLog(store, name).pointers().live
    manifest = None if version is None else store.manifest(name, version)
    if version is None or manifest is None or manifest.features != schema or manifest.threshold is None:
        return {}
    return {"live": (store.estimator(name, version), manifest.threshold)}


def _worth(judged: Answered, rankers: Mapping[str, tuple[Any, float]], span: Span, budget: float, seed: int) -> Worth:
    order = {who: rank(estimator, judged.features) for who, (estimator, _) in rankers.items()}
    shown = {who: order[who] >= threshold for who, (_, threshold) in rankers.items()}
    shown["none"] = np.ones(len(judged.at), dtype=bool)
    tables = {who: _table(judged, flags) for who, flags in shown.items()}
    intervals: dict[str, Interval] = {
        who: f1_difference(tables["new"], tables[who], np.random.default_rng(seed))
        for who in ("none", "live")
        if who in tables
    }
    found, events, right, episodes = tables["new"].sum(axis=0)
    days = len(set(judged.service)) * (span.end - span.start) / 86_400_000
    names = {"none": gate.AGAINST_NONE, "live": gate.AGAINST_LIVE}
    metrics = {
        gate.F1: float(2 * right / max(episodes + events, 1)),
        "precision": float(right / max(episodes, 1)),
        "recall": float(found / max(events, 1)),
        "events": float(events),
        "average_precision": float(average_precision_score(judged.matters, order["new"])),
        "average_precision_by_score": float(average_precision_score(judged.matters, judged.score)),
        gate.FALSE_ALARMS: float((episodes - right) / max(days, 1e-9)),
        gate.BUDGET: budget,
        **{names[who]: interval.low for who, interval in intervals.items()},
    }
    precision = [
        (at, precision_at(at, order["new"], judged.matters), precision_at(at, judged.score, judged.matters))
        for at in RECALLS
    ]
    return Worth(metrics, precision, intervals)


def _table(judged: Answered, shown: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """float64[days of services, 4]: found, events, right alarms, alarms."""
    keys = [f"{service} {ms // 86_400_000}" for service, ms in zip(judged.service, judged.at.tolist(), strict=True)]
    _, block = np.unique(keys, return_inverse=True)
    right = shown & judged.matters
    columns = [np.bincount(block, weights=column) for column in (right, judged.matters, right, shown)]
    return np.stack(columns, axis=1)


def _card(
    manifest: ModelManifest, spans: Mapping[str, Span], judged: Answered, found: Worth, fitted: FittedRanker
) -> dict[str, bytes]:
    plain = {
        "model": manifest.model_dump(mode="json"),
        "version": manifest.version,
        "spans": {name: str(span) for name, span in spans.items()},
        "answered": {"anomalies": len(judged.at), "mattered": int(judged.matters.sum())},
        "precision_at_recall": [{"recall": at, "ranker": new, "score": old} for at, new, old in found.precision],
        "f1_differences": {name: interval._asdict() for name, interval in found.intervals.items()},
        "search": [{"parameters": parameters, "average_precision": score} for parameters, score in fitted.tried],
    }
    lines = [*_markdown(manifest, spans, judged, found)]
    return {
        "card.md": ("\n".join(lines) + "\n").encode(),
        "card.json": (json.dumps(plain, indent=1) + "\n").encode(),
    }


def _markdown(manifest: ModelManifest, spans: Mapping[str, Span], judged: Answered, found: Worth) -> Iterator[str]:
    training, metrics = manifest.training, manifest.metrics
    yield from (f"# {manifest.name} {manifest.version}", "")
    yield (
        f"`{training.recipe['estimator']}` with {training.recipe['chosen']}, seed {training.seed}, on dataset "
        f"`{training.dataset[:16]}`."
    )
    yield from ("", "| part | time (UTC) |", "|---|---|")
    yield from (f"| {name} | {span} |" for name, span in spans.items())
    yield from ("", f"## Worth: {len(judged.at)} answered anomalies, {int(judged.matters.sum())} of which mattered", "")
    yield "Precision of the anomalies shown until so many of those that matter are among them:"
    yield from ("", "| recall | in the ranker's order | by detect's score |", "|---|---|---|")
    yield from (f"| {at:.0%} | {new:.2f} | {old:.2f} |" for at, new, old in found.precision)
    yield ""
    yield (
        f"At its threshold: precision {metrics['precision']:.2f}, recall {metrics['recall']:.2f}, "
        f"{metrics['false_alarms_per_service_day']:.3g} false alarms per service and day (budget "
        f"{metrics['false_alarm_budget']:.3g})."
    )
    yield from ("", "| F1 against | difference | 95 % interval |", "|---|---|---|")
    for who, one in found.intervals.items():
        other = "showing all" if who == "none" else "the live ranker"
        yield f"| {other} | {one.difference:+.3f} | {one.low:+.3f} to {one.high:+.3f} |"
