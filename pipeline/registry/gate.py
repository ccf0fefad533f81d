"""The gate: what speaks against making a version live. An empty answer lets it through.

A model is compared on the evaluation period that its training never saw, beside none, beside the live one, and in the
shadow. It must be better than none: what adds nothing is not worth its cost. It must not be worse than the live one by
a margin: two models that are equally good differ by chance, and a test for no difference at all would refuse
half of the equals (non-inferiority: Piaggio et al., JAMA 308, 2012). That many promotions in a row do not each lose a
margin, the comparison with none is asked for again each time. And what it was fitted on must look like what is
normal now: a model of an incident takes the incident for normal, however well it does in a period without one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from models.offline.counts import surely_more, surely_more_than
from models.offline.stability import MOVED_SHARE
from pipeline.registry.manifest import Kind
from pipeline.registry.reference import REFERRED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.registry.manifest import ModelManifest

SHADOW_HOURS: Final = 24.0
"""Event time that a version must have scored beside the live one."""
F1, FALSE_ALARMS, AGAINST_LIVE, AGAINST_NONE = (
    "f1",
    "false_alarms_per_service_day",
    "f1_over_live_low",
    "f1_over_none_low",
)
MOST_UNSCORED: Final = 0.1
"""Share of what the live version scored that one in the shadow may have left out."""
FEWEST_OTHERS: Final = 3
"""Alarms of other detectors from which on silence tells: who sees as much is silent in one of twenty such times."""
BUDGET: Final = "false_alarm_budget"
MOVED: Final = "features_moved"
SHADOW, SHADOW_DAYS = "shadow_hours", "shadow_service_days"
SHADOW_LONE, SHADOW_LIVE_LONE = "shadow_lone_alarms", "shadow_live_lone_alarms"
SHADOW_UNSCORED, SHADOW_ALARMS, SHADOW_OTHERS_ALARMS = "shadow_unscored", "shadow_alarms", "shadow_others_alarms"
"""Names of metrics: `…_low` is the lower end of a paired bootstrap interval of the difference."""


def objections(
    candidate: ModelManifest, live: ModelManifest | None, shadow: Mapping[str, float], margin: float
) -> tuple[str, ...]:
    """Reasons not to promote the candidate, `live` being what runs now and `shadow` what it did beside it.

    margin is the F1 by which it may be worse than the live one (`pipeline.settings.ModelSettings.margin`).
    """
    # These raise nothing, and what they are worth shows later, in answers and in new series: they have no time in the
    # shadow.
    beside = () if candidate.kind in (Kind.RANKER, Kind.PRIORS) else _shadow(candidate.metrics, shadow)
    return (*unfit(candidate, live, margin), *beside)


def unfit(candidate: ModelManifest, live: ModelManifest | None, margin: float) -> tuple[str, ...]:
    """Those of them that no time in the shadow can change."""
    return (
        *_evaluation(candidate.metrics, live is not None, margin),
        *_compared(candidate, live),
        *_shape(candidate, live),
    )


def _evaluation(metrics: Mapping[str, float], beside_live: bool, margin: float) -> Iterator[str]:
    wanted = [F1, FALSE_ALARMS, BUDGET, AGAINST_NONE, *([AGAINST_LIVE] if beside_live else [])]
    missing = [name for name in wanted if name not in metrics]
    if missing:
        yield f"it was not evaluated ({', '.join(missing)} missing)"
        return
    if metrics[FALSE_ALARMS] > metrics[BUDGET]:
        yield f"{metrics[FALSE_ALARMS]:.3g} false alarms per service-day, the budget is {metrics[BUDGET]:.3g}"
    # What was registered before it was measured has no such metric.
    if metrics.get(MOVED, 0.0) >= MOVED_SHARE:
        yield (
            f"{metrics[MOVED]:.0%} of its features are spread otherwise in what is normal now than in what it was "
            "fitted on: an incident, or another time"
        )
    if not metrics[AGAINST_NONE] > 0:
        yield (
            "it may be no better than no trained model: the F1 difference's interval begins at "
            f"{metrics[AGAINST_NONE]:.3g}"
        )
    if beside_live and not metrics[AGAINST_LIVE] >= -margin:
        yield (
            f"it may be worse than the live model by more than {margin:g} (models.margin): the F1 difference's "
            f"interval begins at {metrics[AGAINST_LIVE]:.3g}"
        )


def _compared(candidate: ModelManifest, live: ModelManifest | None) -> Iterator[str]:
    # What was registered before it was noted does not say.
    told = candidate.compared_with
    if live is not None and told is not None and told != live.version:
        yield f"it was compared with {told}, and {live.version} is live now: train it again"


def _shape(candidate: ModelManifest, live: ModelManifest | None) -> Iterator[str]:
    if candidate.kind in REFERRED and candidate.reference is None:
        yield "it has no reference scores, so nobody can tell whether it takes its features in order: train it again"
    if candidate.kind != Kind.PRIORS and (candidate.threshold is None or not math.isfinite(candidate.threshold)):
        yield "it has no alarm threshold"
    if live is not None and live.kind != candidate.kind:
        yield f"it is a {candidate.kind}, the live model is a {live.kind}"
    if live is not None and live.services != candidate.services:
        yield f"it is for the services {candidate.services}, the live model for {live.services}: name it otherwise"


def _shadow(metrics: Mapping[str, float], shadow: Mapping[str, float]) -> Iterator[str]:
    hours = shadow.get(SHADOW, 0.0)
    if hours < SHADOW_HOURS:
        yield f"{hours:.3g} h in the shadow, {SHADOW_HOURS:g} h are wanted (`duri models shadow`)"
        return
    unscored, others = shadow.get(SHADOW_UNSCORED, 0.0), shadow.get(SHADOW_OTHERS_ALARMS, 0)
    if unscored > MOST_UNSCORED:
        yield (
            f"it gave no score to {unscored:.0%} of what the live version scored beside it, {MOST_UNSCORED:.0%} may be "
            "missing"
        )
    if not shadow.get(SHADOW_ALARMS, 0) and others >= FEWEST_OTHERS:
        yield (
            f"it was silent in the shadow while other detectors raised {others:.0f} alarms in the services that it "
            "scored: nothing there shows what it finds"
        )
    yield from _lone(metrics, shadow)


def _lone(metrics: Mapping[str, float], shadow: Mapping[str, float]) -> Iterator[str]:
    """Alarms that nobody shared, where they are surely more than the budget's and the live version's.

    What the live one raises people put up with now. Some of them are right, and a day of a few services has a handful:
    to a count just above what is allowed there is nothing to say.
    """
    if BUDGET not in metrics:
        return
    budget, lone, days = metrics[BUDGET], round(shadow[SHADOW_LONE]), shadow[SHADOW_DAYS]
    live = shadow.get(SHADOW_LIVE_LONE)
    if not surely_more(lone, budget * days) or (live is not None and not surely_more_than(lone, round(live))):
        return
    beside = "" if live is None else f" and of the live version's {live / days:.3g}"
    yield (
        f"{lone / days:.3g} alarms per service-day in the shadow that nobody shared: more than chance makes of the "
        f"budget of {budget:.3g}{beside}"
    )
