"""What a model is worth, as manifest, gate and card have it: the one judgement of training and of `duri evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from models.offline import features, stability
from pipeline.offline.training.evaluating import LIVE, NEW, NONE, Evaluation, Scorer, evaluate
from pipeline.registry import gate
from pipeline.registry.manifest import FeatureSchema
from pipeline.registry.pointers import PointerLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.offline.bootstrap import Interval
    from pipeline.offline.dataset.times import Span
    from pipeline.offline.training.blocks import Block
    from pipeline.offline.training.sought import Source
    from pipeline.registry.store import Store


class Worth(NamedTuple):
    """An evaluation, how sure its differences are, and its figures by the names that the gate knows."""

    evaluation: Evaluation
    intervals: Mapping[str, Interval]
    metrics: dict[str, float]


def schema_of(signals: Sequence[str]) -> FeatureSchema:
    """What a model over these signals expects at its input."""
    return FeatureSchema(version=features.VERSION, names=features.names_of(signals))


def live_scorer(store: Store, name: str, schema: FeatureSchema) -> dict[str, Scorer]:
    """The live version of this model, where there is one for the same features."""
    version = PointerLog(store, name).pointers().live
    if version is None:
        return {}
    manifest = store.manifest(name, version)
    if manifest.features != schema or manifest.threshold is None:
        return {}
    return {LIVE: Scorer(store.estimator(name, version), manifest.threshold)}


class Terms(NamedTuple):
    """How a model is judged: what is sought, its budget of false alarms, and the seed of the bootstrap.

    spread: how its features are spread in what it was fitted on; None: not known.
    """

    source: Source
    budget: float
    seed: int
    spread: stability.Spread | None = None


def worth(blocks: Iterable[Block], span: Span, scorers: Mapping[str, Scorer], terms: Terms) -> Worth:
    """Evaluate within the span, beside the live model where it is among the scorers, and beside none.

    The blocks are read with learners.
    """
    found = evaluate(blocks, span, scorers, terms.source)
    intervals: dict[str, Interval] = {who: found.over(who, terms.seed) for who in (NONE, LIVE) if who in found.counts}
    return Worth(found, intervals, _metrics(found, intervals, terms))


def _metrics(found: Evaluation, intervals: Mapping[str, Interval], terms: Terms) -> dict[str, float]:
    total = found.total(NEW)
    names = {NONE: gate.AGAINST_NONE, LIVE: gate.AGAINST_LIVE}
    metrics = {
        gate.F1: total.f1,
        "precision": total.precision,
        "recall": total.recall,
        "events": float(total.events),
        gate.FALSE_ALARMS: found.false_alarms / max(found.service_days, 1e-9),
        gate.BUDGET: terms.budget,
        **{names[who]: interval.low for who, interval in intervals.items()},
    }
    if terms.spread is not None:
        metrics[gate.MOVED] = stability.moved_share(np.asarray(found.features), terms.spread)
    if np.isfinite(total.delay):
        metrics["median_delay_s"] = total.delay * found.step_s
    return metrics
