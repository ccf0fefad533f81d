"""What a comparison of two backtests shows, as a picture: when which fires, and how often each rule does."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.errors import FileError
from pipeline.views.plots import require_plots

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

    from pipeline.offline.compare import Comparison

_WIDTH_IN: Final = 12.0
_ROW_IN: Final = 0.3
_DPI: Final = 110
_MOST_SERVICES: Final = 40
_MOST_RULES: Final = 30
_BOTH, _NEW, _CURRENT = "#90a4ae", "#1b8a6b", "#cf3f4f"
_HEIGHT: Final = 0.36


def plot_comparison(path: Path, comparison: Comparison, until: int) -> None:
    """Draw it as a PNG; `until` (ms) is the end of the data, where what is open ends.

    Services with the most differences come first, 40 of them; of rules the 30 that differ most. Raises
    MissingExtraError without matplotlib, FileError where the file cannot be written.
    """
    require_plots()
    from matplotlib.figure import Figure  # noqa: PLC0415  an extra, and slow to import

    services, rules = _services(comparison), _rules(comparison)
    rows = [max(len(services), 1), max(len(rules), 1)]
    figure = Figure(figsize=(_WIDTH_IN, 1.8 + _ROW_IN * sum(rows)), layout="constrained")
    when, often = figure.subplots(2, 1, height_ratios=rows)
    handles = _timeline(when, comparison, services, until)
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    _counts(often, comparison, rules)
    try:
        figure.savefig(path, dpi=_DPI)
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror}); choose another --output") from error


def _services(comparison: Comparison) -> list[str]:
    """By how much differs there, most first."""
    weight: dict[str, int] = {pair.new.service: 0 for pair in comparison.both}
    for fired in (*comparison.only_new, *comparison.only_current):
        weight[fired.service] = weight.get(fired.service, 0) + 1
    return sorted(weight, key=lambda service: (-weight[service], service))[:_MOST_SERVICES]


def _rules(comparison: Comparison) -> list[str]:
    counts = comparison.rules
    return sorted(counts, key=lambda name: (-abs(counts[name][0] - counts[name][1]), name))[:_MOST_RULES]


def _timeline(panel: Axes, comparison: Comparison, services: Sequence[str], until: int) -> list[Patch]:
    """Draw the bars; what the colours mean."""
    from matplotlib.patches import Patch  # noqa: PLC0415  an extra, and slow to import

    kinds = (
        ("in both runs", _BOTH, 0.0, [pair.new for pair in comparison.both]),
        ("only in this run", _NEW, -_HEIGHT, comparison.only_new),
        ("only in the other run", _CURRENT, _HEIGHT, comparison.only_current),
    )
    row, handles = {service: number for number, service in enumerate(services)}, []
    for label, colour, shift, fired in kinds:
        shown = [one for one in fired if one.service in row]
        places = np.array([row[one.service] + shift / 2 for one in shown], dtype=float)
        starts = _days(one.start for one in shown)
        lengths = _days(min(one.end, until) for one in shown) - starts
        # Short ones would not be seen.
        least = 0.002 * max(float(np.ptp(starts)) if len(starts) else 0.0, 1 / 24)
        panel.barh(places, np.maximum(lengths, least), _HEIGHT, starts, color=colour)
        handles.append(Patch(color=colour, label=f"{label} ({len(fired)})"))
    panel.set_yticks(range(len(services)), services)
    panel.set_ylim(len(services) - 0.5, -0.5)
    panel.xaxis_date(tz=UTC)
    panel.set_title("Anomalies by service")
    return handles


def _days(moments: Iterable[int]) -> npt.NDArray[np.float64]:
    """Matplotlib's dates, days since 1970, of times in ms."""
    return np.array(list(moments), dtype=np.float64) / 86_400_000


def _counts(panel: Axes, comparison: Comparison, rules: Sequence[str]) -> None:
    places = np.arange(len(rules))
    for label, colour, shift, which in (
        ("this run", _NEW, -_HEIGHT / 2, 0),
        ("the other run", _CURRENT, _HEIGHT / 2, 1),
    ):
        bars = panel.barh(places + shift, [comparison.rules[name][which] for name in rules], _HEIGHT, color=colour)
        panel.bar_label(bars, padding=3, fontsize=8)
        bars.set_label(label)
    panel.set_yticks(places, rules)
    panel.set_ylim(len(rules) - 0.5, -0.5)
    panel.set_title("Anomalies in which each fired")
    panel.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)
