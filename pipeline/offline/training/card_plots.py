"""The plots of a model card, as PNG; none where matplotlib (the extra `plots`) is not installed."""

from __future__ import annotations

import io
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.offline.training.evaluating import LIVE, NEW, NONE, STATIC, found_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pipeline.offline.training.evaluating import Evaluation

LABELS: Final = {
    STATIC: "static rules alone",
    NONE: "no trained model",
    LIVE: "with the live model",
    NEW: "with this model",
}
_COLOURS: Final = {STATIC: "#b0bec5", NONE: "#5b7fa6", LIVE: "#e0a030", NEW: "#1b8a6b"}
_INK: Final = "#263238"
_DPI: Final = 110


def card_plots(evaluation: Evaluation, threshold: float) -> dict[str, bytes]:
    """`curve.png`: precision and recall; `found.png`: what was found by kind and size, and by service."""
    if find_spec("matplotlib") is None:
        return {}
    return {"curve.png": _png(_curve(evaluation, threshold)), "found.png": _png(_found(evaluation))}


def first_days_plot(figures: Mapping[str, Mapping[str, float]], labels: Mapping[str, str]) -> dict[str, bytes]:
    """`first_days.png`: what is found on new series' first days, and what is raised for nothing, by who judges.

    figures: `f1`, `recall`, and false alarms per service (`false_alarms_in_first_hour`, `…_day`).
    """
    if find_spec("matplotlib") is None:
        return {}
    figure, (left, right) = _panels(2, 9.0, 3.6)
    for panel, title, names in (
        (left, "Anomalies of first days", ("recall", "f1")),
        (right, "False alarms per service", ("false_alarms_in_first_hour", "false_alarms_in_first_day")),
    ):
        words = [name.removeprefix("false_alarms_").replace("_", " ") for name in names]
        _bars(panel, words, {who: [one[name] for name in names] for who, one in figures.items()}, labels)
        panel.set_title(title, fontsize=10, loc="left", color=_INK)
    right.set_ylim(0, None)
    right.autoscale(axis="y")
    figure.legend(*left.get_legend_handles_labels(), fontsize=9, frameon=False, ncols=3, loc="outside lower center")
    return {"first_days.png": _png(figure)}


def _png(figure: Figure) -> bytes:
    sink = io.BytesIO()
    # Without the library's version in it, the same card has the same bytes.
    figure.savefig(sink, format="png", dpi=_DPI, metadata={"Software": None})
    return sink.getvalue()


def _panels(columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(width, height), layout="constrained")
    panels = list(figure.subplots(1, columns, squeeze=False)[0])
    for panel in panels:
        panel.tick_params(labelsize=8, colors=_INK, length=2.5)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    return figure, panels


def _curve(evaluation: Evaluation, threshold: float) -> Figure:
    figure, (panel,) = _panels(1, 6.2, 4.4)
    for who, points in evaluation.curves.items():
        ordered = sorted(points, key=lambda point: -point.threshold)
        panel.plot(
            [point.recall for point in ordered],
            [point.precision for point in ordered],
            color=_COLOURS[who],
            lw=1.6,
            ls="-" if who == NEW else "--",
            zorder=3 if who == NEW else 4,
            label=f"{'this' if who == NEW else 'the live'} model alone, any threshold",
        )
        if who == NEW and ordered:
            at = min(ordered, key=lambda point: abs(point.threshold - threshold))
            panel.plot(
                at.recall,
                at.precision,
                "o",
                color=_COLOURS[who],
                ms=8,
                mfc="white",
                zorder=5,
                label="… at its threshold",
            )
    for who in evaluation.counts:
        total = evaluation.total(who)
        panel.plot(total.recall, total.precision, "D", color=_COLOURS[who], ms=6, zorder=6, label=LABELS[who])
    panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), xlabel="recall", ylabel="precision")
    panel.set_title("Events found, and alarms that were right", fontsize=10, loc="left", color=_INK)
    panel.grid(color="#eceff1", lw=0.8)
    panel.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.set_size_inches(8.6, 4.4)
    return figure


def _found(evaluation: Evaluation) -> Figure:
    kinds = evaluation.by_kind()
    names = [f"{kind} {size:g}" if size else kind or "event" for kind, size in kinds]
    figure, (left, right) = _panels(2, 13.0, 4.2)
    shares = {
        who: [found_by(events, who) / len(events) for events in kinds.values()]
        for who in LABELS
        if who in evaluation.counts
    }
    _bars(left, names, shares)
    left.set_title("Share of events found, by kind and size", fontsize=10, loc="left", color=_INK)
    services = _hardest(evaluation)
    _bars(
        right,
        services,
        {who: [evaluation.by_service[name][who].f1 for name in services] for who in LABELS if who in evaluation.counts},
    )
    more = f" (the {len(services)} lowest)" if len(services) < len(evaluation.by_service) else ""
    right.set_title(f"F1 by service{more}", fontsize=10, loc="left", color=_INK)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=9, frameon=False, ncols=len(labels), loc="outside lower center")
    return figure


_MOST_SERVICES: Final = 12


def _hardest(evaluation: Evaluation) -> list[str]:
    by_f1 = sorted(evaluation.by_service, key=lambda name: evaluation.by_service[name][NEW].f1)
    return sorted(by_f1[:_MOST_SERVICES])


def _bars(panel: Axes, names: list[str], values: dict[str, list[float]], labels: Mapping[str, str] = LABELS) -> None:
    width = 0.8 / max(len(values), 1)
    at = np.arange(len(names))
    for number, (who, heights) in enumerate(values.items()):
        panel.bar(
            at + (number - (len(values) - 1) / 2) * width, heights, width * 0.92, color=_COLOURS[who], label=labels[who]
        )
    panel.set_xticks(at, names, rotation=30 if len(names) > 5 else 0, ha="right" if len(names) > 5 else "center")
    panel.set_ylim(0, 1.04)
    panel.grid(axis="y", color="#eceff1", lw=0.8)
    panel.set_axisbelow(True)
