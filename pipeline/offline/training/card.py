"""The model card: what was trained on what, and what it is worth; for people in Markdown, for programs in JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from models.offline.injected import KINDS, SIZES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.evaluation import EventCounts
    from models.offline.bootstrap import Interval
    from pipeline.offline.dataset.times import Span
    from pipeline.offline.training.evaluating import Evaluation
    from pipeline.registry.manifest import ModelManifest

_WHO = {"none": "online learners alone", "new": "with this model", "live": "with the live model"}


def card(
    manifest: ModelManifest,
    spans: Mapping[str, Span],
    evaluation: Evaluation,
    intervals: Mapping[str, Interval],
    tried: list[tuple[dict[str, Any], float]],
) -> dict[str, bytes]:
    """`card.md` and `card.json`."""
    plain = {
        "model": manifest.model_dump(mode="json"),
        "version": manifest.version,
        "spans": {name: str(span) for name, span in spans.items()},
        "events": evaluation.source,
        "counts": {who: _counts(evaluation.total(who)) for who in evaluation.counts},
        "by_service": {name: _counts(counts) for name, counts in evaluation.by_service.items()},
        "f1_differences": {name: interval._asdict() for name, interval in intervals.items()},
        "search": [{"parameters": parameters, "average_precision": score} for parameters, score in tried],
    }
    text = "\n".join(_markdown(manifest, spans, evaluation, intervals, tried)) + "\n"
    return {"card.md": text.encode(), "card.json": (json.dumps(plain, indent=1) + "\n").encode()}


def _counts(counts: EventCounts) -> dict[str, float | int | None]:
    delay = counts.delay
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "events": counts.events,
        "found": counts.found,
        "alarms": counts.episodes,
        "median_delay_frames": None if delay != delay else delay,  # noqa: PLR0124  NaN
    }


def _markdown(
    manifest: ModelManifest,
    spans: Mapping[str, Span],
    evaluation: Evaluation,
    intervals: Mapping[str, Interval],
    tried: list[tuple[dict[str, Any], float]],
) -> list[str]:
    metrics = manifest.metrics
    lines = [
        f"# {manifest.name} {manifest.version}",
        "",
        _origin(manifest),
        "",
        "| part | time (UTC) |",
        "|---|---|",
        *(f"| {name} | {span} |" for name, span in spans.items()),
        "",
        f"## Worth: {_source(evaluation)}",
        "",
        "| alarms by | precision | recall | F1 | events found | alarms | median delay |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_row(_WHO[who], evaluation.total(who), evaluation.step_s) for who in evaluation.counts]
    lines += ["", "| F1 against | difference | 95 % interval |", "|---|---|---|"]
    lines += [
        f"| {_WHO[who]} | {one.difference:+.3f} | {one.low:+.3f} to {one.high:+.3f} |" for who, one in intervals.items()
    ]
    lines += [
        "",
        _alone(metrics),
        "",
        "## By service",
        "",
        "| service | precision | recall | F1 | events found | alarms | median delay |",
        "|---|---|---|---|---|---|---|",
        *(_row(name, counts, evaluation.step_s) for name, counts in sorted(evaluation.by_service.items())),
    ]
    if tried:
        lines += ["", "## Search", "", "| parameters | average precision |", "|---|---|"]
        lines += [f"| {parameters} | {score:.3f} |" for parameters, score in tried]
    return lines


def _origin(manifest: ModelManifest) -> str:
    training = manifest.training
    return (
        f"`{training.recipe['estimator']}` with {training.recipe['chosen']}, seed {training.seed}, on dataset "
        f"`{training.dataset[:16]}`; {len(manifest.features.names)} features of version {manifest.features.version}."
    )


def _alone(metrics: Mapping[str, float]) -> str:
    return (
        f"Alone it raises {metrics['false_alarms_per_service_day']:.3g} false alarms per service and day; its "
        f"threshold was set for {metrics['false_alarm_budget']:.3g} on the calibration part."
    )


def _source(evaluation: Evaluation) -> str:
    if evaluation.source == "labels":
        return "against what people and outcomes have labelled"
    sizes = ", ".join(f"{size:g}" for size in SIZES)
    return (
        f"against injected anomalies ({', '.join(KINDS)}; {sizes} mean absolute deviations, a quarter of the signals)"
    )


def _row(name: str, counts: EventCounts, step_s: float) -> str:
    delay = counts.delay * step_s
    late = "-" if delay != delay else f"{delay:.0f} s"  # noqa: PLR0124  NaN: nothing was found
    return (
        f"| {name} | {counts.precision:.2f} | {counts.recall:.2f} | {counts.f1:.2f} | {counts.found} of "
        f"{counts.events} | {counts.episodes} | {late} |"
    )
