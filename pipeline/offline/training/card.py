"""The model card: what was trained on what, and what it is worth; for people in Markdown, for programs in JSON."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from models.offline.injected import AFTERMATH_MS, KINDS, SIZES
from pipeline.offline.training.card_plots import LABELS, card_plots
from pipeline.offline.training.evaluating import NEW, NONE, STATIC, found_by, lead, median_delay_s
from pipeline.offline.training.sought import CHANGE_MS, Source
from pipeline.registry.manifest import EVERY_SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from models.evaluation import EventCounts
    from models.offline.bootstrap import Interval
    from pipeline.offline.dataset.times import Span
    from pipeline.offline.training.evaluating import Evaluation, JudgedEvent
    from pipeline.registry.manifest import ModelManifest

_MOST_ROWS: Final = 40
_WORTH: Final = "| {} | precision | recall | F1 | events found | alarms | false alarms a service-day | median delay |"
_RULE: Final = "|---|---|---|---|---|---|---|---|"


class Subject(NamedTuple):
    """What a card is about: a version, the parts of the time, and where the data came from.

    tried: parameters and mean average precision of each candidate, empty where nothing was searched for here.
    """

    manifest: ModelManifest
    spans: Mapping[str, Span]
    dataset: str
    metrics: Mapping[str, float]
    tried: list[tuple[dict[str, Any], float]]


def card(subject: Subject, evaluation: Evaluation, intervals: Mapping[str, Interval]) -> dict[str, bytes]:
    """`card.md`, `card.json`, and where matplotlib is installed the plots that the first one shows."""
    plots = card_plots(evaluation, subject.manifest.threshold or math.inf)
    text = "\n".join(_markdown(subject, evaluation, intervals, list(plots))) + "\n"
    plain = _plain(subject, evaluation, intervals)
    return {"card.md": text.encode(), "card.json": (json.dumps(plain, indent=1) + "\n").encode(), **plots}


# --- for programs ---------------------------------------------------------------------------------------------


def _plain(subject: Subject, evaluation: Evaluation, intervals: Mapping[str, Interval]) -> dict[str, Any]:
    return {
        "model": subject.manifest.model_dump(mode="json"),
        "version": subject.manifest.version,
        "dataset": subject.dataset,
        "spans": {name: str(span) for name, span in subject.spans.items()},
        "metrics": dict(subject.metrics),
        "events": evaluation.source.value,
        "counts": {who: _counts(evaluation, who) for who in evaluation.counts},
        "by_service": {
            name: {who: _numbers(counts) for who, counts in each.items()}
            for name, each in sorted(evaluation.by_service.items())
        },
        "by_signal": {name or "whole service": _group(events) for name, events in evaluation.by_signal().items()},
        "by_kind": [
            {"kind": kind, "size": size, **_group(events)} for (kind, size), events in evaluation.by_kind().items()
        ],
        "lead_over_static_rules": {who: _lead(evaluation.events, who) for who in evaluation.counts if who != STATIC},
        "f1_differences": {name: interval._asdict() for name, interval in intervals.items()},
        "curves": {who: [point._asdict() for point in points] for who, points in evaluation.curves.items()},
        "search": [{"parameters": parameters, "average_precision": score} for parameters, score in subject.tried],
    }


def _counts(evaluation: Evaluation, who: str) -> dict[str, float | int | None]:
    rate = evaluation.false_alarms_per_service_day(who)
    return {**_numbers(evaluation.total(who)), "false_alarms_per_service_day": rate}


def _numbers(counts: EventCounts) -> dict[str, float | int | None]:
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "events": counts.events,
        "found": counts.found,
        "alarms": counts.episodes,
        "excused": counts.excused,
        "median_delay_frames": _number(counts.delay),
    }


def _group(events: list[JudgedEvent]) -> dict[str, Any]:
    whos = list(events[0].delay_s)
    return {
        "events": len(events),
        "found": {who: found_by(events, who) for who in whos},
        "median_delay_s": {who: _number(median_delay_s(events, who)) for who in whos},
        "lead": _lead(events, NEW),
    }


def _lead(events: Iterable[JudgedEvent], who: str) -> dict[str, float | int | None]:
    found = lead(events, who)
    return {**found._asdict(), "median_s": _number(found.median_s)}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


# --- for people -----------------------------------------------------------------------------------------------


def _markdown(
    subject: Subject, evaluation: Evaluation, intervals: Mapping[str, Interval], plots: list[str]
) -> Iterator[str]:
    manifest = subject.manifest
    yield from (f"# {manifest.name} {manifest.version}", "", _origin(manifest), "")
    yield from ("| part | time (UTC) |", "|---|---|")
    yield from (f"| {name} | {span} |" for name, span in subject.spans.items())
    yield from ("", f"## Worth: {_source(evaluation)}", "", _WORTH.format("alarms by"), _RULE)
    for who in LABELS:
        if who in evaluation.counts:
            yield _row(LABELS[who], evaluation.total(who), evaluation, evaluation.service_days)
    if evaluation.source is Source.INJECTED:
        yield from ("", _left_out(evaluation))
    yield from (
        "",
        "| F1 against | difference | 95 % interval (paired bootstrap over services' days) |",
        "|---|---|---|",
    )
    for who, one in intervals.items():
        yield f"| {LABELS[who]} | {one.difference:+.3f} | {one.low:+.3f} to {one.high:+.3f} |"
    yield from ("", _alone(subject.metrics), "")
    yield from plots_shown(plots)
    yield from _leads(evaluation)
    yield from _kinds(evaluation)
    yield from _signals(evaluation)
    yield from _services(evaluation)
    if subject.tried:
        yield from ("", "## Search", "", "| parameters | average precision |", "|---|---|")
        yield from (f"| {parameters} | {score:.3f} |" for parameters, score in subject.tried)


def _left_out(evaluation: Evaluation) -> str:
    excused = ", ".join(f"{LABELS[who]} {evaluation.total(who).excused}" for who in LABELS if who in evaluation.counts)
    return (
        f"Left out: alarms that lie wholly within {AFTERMATH_MS // 60_000} minutes after an anomaly that was put in "
        f"({excused}). What looks back an hour still sees it then, so they are neither right nor wrong. After real "
        "trouble none is left out. What looks back a day or a week sees what was there before anything was put in."
    )


def _origin(manifest: ModelManifest) -> str:
    training = manifest.training
    whose = "" if manifest.services == EVERY_SERVICE else f" It is for the services `{manifest.services}` alone."
    return (
        f"`{training.recipe['estimator']}` with {training.recipe['chosen']}, seed {training.seed}, on dataset "
        f"`{training.dataset[:16]}`; {len(manifest.features.names)} features of version {manifest.features.version}."
        f"{whose}"
    )


def _alone(metrics: Mapping[str, float]) -> str:
    return (
        f"Alone it raises {metrics['false_alarms_per_service_day']:.3g} false alarms per service and day on normal "
        f"data; its threshold was set for {metrics['false_alarm_budget']:.3g} on the calibration part."
    )


def _source(evaluation: Evaluation) -> str:
    sizes = ", ".join(f"{size:g}" for size in SIZES)
    return {
        Source.ANSWERS: "against what people and outcomes have labelled",
        Source.WINDOWS: "against the windows given",
        Source.CHANGES: f"against the {CHANGE_MS // 60_000} minutes after each change",
        Source.INJECTED: (
            f"against injected anomalies ({', '.join(KINDS)}; {sizes} mean absolute deviations, "
            "a quarter of the signals)"
        ),
    }[evaluation.source]


def plots_shown(plots: list[str]) -> Iterator[str]:
    """Lines of a card that show these plots, or say why there are none."""
    if not plots:
        yield from ("Plots need matplotlib (the extra `plots`), which was not installed.", "")
    for name in plots:
        yield from (f"![{name.removesuffix('.png')}]({name})", "")


def _leads(evaluation: Evaluation) -> Iterator[str]:
    yield from ("## Lead over the static rules", "")
    yield from ("| alarms by | found by both | earlier (median) | found by it alone | by the rules alone |",)
    yield "|---|---|---|---|---|"
    for who in evaluation.counts:
        if who != STATIC:
            one = lead(evaluation.events, who)
            yield f"| {LABELS[who]} | {one.both} | {_seconds(one.median_s)} | {one.only_new} | {one.only_static} |"


def _kinds(evaluation: Evaluation) -> Iterator[str]:
    yield from ("", "## By kind and size", "")
    names = [f"{kind} {size:g}" if size else kind for kind, size in evaluation.by_kind()]
    yield from _found_table("events", dict(zip(names, evaluation.by_kind().values(), strict=True)), evaluation)


def _signals(evaluation: Evaluation) -> Iterator[str]:
    groups = {name or "(whole service)": events for name, events in evaluation.by_signal().items()}
    yield from ("", "## By signal", "", "An event counts for each signal that takes part in it.", "")
    yield from _found_table("signal", groups, evaluation)


def _found_table(what: str, groups: Mapping[str, list[JudgedEvent]], evaluation: Evaluation) -> Iterator[str]:
    whos = [who for who in LABELS if who in evaluation.counts]
    heads = " | ".join(f"found {LABELS[who]}" for who in whos)
    yield f"| {what} | events | {heads} | median delay with it | lead over the rules |"
    yield "|---|---|" + "---|" * (len(whos) + 2)
    for name, events in list(groups.items())[:_MOST_ROWS]:
        cells = " | ".join(str(found_by(events, who)) for who in whos)
        delay, earlier = median_delay_s(events, NEW), lead(events, NEW).median_s
        yield f"| {name} | {len(events)} | {cells} | {_seconds(delay)} | {_seconds(earlier)} |"
    yield from _more(len(groups))


def _services(evaluation: Evaluation) -> Iterator[str]:
    yield from ("", "## By service", "", _WORTH.format("service") + " F1 without |", _RULE + "---|")
    each = evaluation.service_days / max(len(evaluation.by_service), 1)
    for name, counts in sorted(evaluation.by_service.items())[:_MOST_ROWS]:
        yield f"{_row(name, counts[NEW], evaluation, each)} {counts[NONE].f1:.2f} |"
    yield from _more(len(evaluation.by_service))


def _more(rows: int) -> Iterator[str]:
    if rows > _MOST_ROWS:
        yield from ("", f"{rows - _MOST_ROWS} more in `card.json`.")


def _row(name: str, counts: EventCounts, evaluation: Evaluation, days: float) -> str:
    rate = (counts.episodes - counts.right) / max(days, 1e-9)
    return (
        f"| {name} | {counts.precision:.2f} | {counts.recall:.2f} | {counts.f1:.2f} | {counts.found} of "
        f"{counts.events} | {counts.episodes} | {rate:.2f} | {_seconds(counts.delay * evaluation.step_s)} |"
    )


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if math.isfinite(value) else "-"
