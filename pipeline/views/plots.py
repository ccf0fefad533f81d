"""Pages of plots of judged series: value, expected band, alarms and what people had labelled.

matplotlib is an extra (`plots`): whoever asks for plots without it is told so at once.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from models.evaluation import runs, score_events
from pipeline import quantities as fmt
from pipeline.errors import FileError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from models.contracts import Bools, Float64s, Int64s, Verdicts

_COLUMNS: Final = 2
_WIDTH_IN: Final = 17.0
_ROW_IN: Final = 2.15
_HEAD_IN: Final = 0.95
_DPI: Final = 110
_GAP: Final = 30  # usual steps
_SLACK: Final = 2  # samples by which an alarm may miss an event, as in the scores

_INK = "#263238"
_VALUE = "#34495e"
_BAND = "#8fbbe0"
_LABEL = "#f4c95d"
_RIGHT = "#1b8a6b"
_WRONG = "#cf3f4f"
_EARLY = "#90a4ae"
_UNJUDGED = "#eceff1"


class PlottedSeries(NamedTuple):
    """One judged series: name group/series, ts int64[n] ms, values float64[n], labels bool[n]; judged from a row on."""

    name: str
    ts: Int64s
    values: Float64s
    labels: Bools
    verdicts: Verdicts
    start: int


def require_plots() -> None:
    """Fail early where matplotlib is not installed. Raises MissingExtraError."""
    if find_spec("matplotlib") is None:
        raise MissingExtraError("plots need matplotlib, which is not installed: pip install 'duri-pipeline[plots]'")


def plot_pages(
    folder: Path, series: Sequence[PlottedSeries], report: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Draw one PNG a group of series into the folder, which is made where need be; `report` is told each page's name.

    Raises MissingExtraError without matplotlib, FileError where the folder cannot be written.
    """
    require_plots()
    groups: dict[str, list[PlottedSeries]] = defaultdict(list)
    for one in series:
        groups[one.name.split("/", maxsplit=1)[0]].append(one)
    pages = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, many in groups.items():
            page = folder / f"{name}.png"
            _page(name, many).savefig(page, dpi=_DPI)
            pages.append(page)
            report(page.name)
    except OSError as error:
        raise FileError(f"{folder}: plots cannot be written ({error.strerror})") from error
    return pages


def _page(title: str, series: Sequence[PlottedSeries]) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415

    columns = min(_COLUMNS, len(series))
    rows = -(-len(series) // columns)
    height = _HEAD_IN + rows * (_ROW_IN if columns > 1 else 1.5 * _ROW_IN)
    figure = Figure(figsize=(_WIDTH_IN, height), layout="constrained")
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(0.0, 0.0, 1.0, 1.0 - _HEAD_IN / height), hspace=0.04, wspace=0.02)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, one in zip(panels, series, strict=False):
        _panel(panel, one)
    for panel in panels[len(series) :]:
        panel.set_visible(False)
    top = 1.0 - 0.3 / height
    figure.text(0.012, top, title, fontsize=17, fontweight="bold", color=_INK, va="center")
    _legend(figure, 1.0 - 0.68 / height)
    return figure


def _legend(figure: Figure, at: float) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    handles = [
        Line2D([], [], color=_VALUE, lw=1.4, label="value"),
        Patch(color=_BAND, alpha=0.5, lw=0, label="expected band"),
        Patch(color=_LABEL, alpha=0.55, lw=0, label="labelled"),
        Line2D([], [], color=_RIGHT, marker="v", lw=1, label="alarm, right"),
        Line2D([], [], color=_WRONG, marker="v", lw=1, label="alarm, false"),
        Line2D([], [], color=_EARLY, marker="v", lw=1, label="alarm, not judged"),
        Patch(color=_UNJUDGED, lw=0, label="not judged"),
    ]
    figure.legend(
        handles=handles, loc="center left", bbox_to_anchor=(0.008, at), ncols=len(handles), frameon=False, fontsize=10,
        labelcolor=_INK, handlelength=1.6, columnspacing=1.8,
    )  # fmt: skip


def _panel(panel: Axes, one: PlottedSeries) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415

    at = np.array([datetime.fromtimestamp(ms / 1000, UTC) for ms in one.ts.tolist()])
    low, high = _limits(one)
    panel.set_xlim(at.min(), at.max())
    panel.set_ylim(low, high)
    if one.start:
        panel.axvspan(at[0], at[min(one.start, len(at) - 1)], color=_UNJUDGED, lw=0, zorder=0)
    for first, last in runs(one.labels):
        # A labelled sample alone has no width; it must be seen all the same.
        panel.axvspan(at[first], at[last], facecolor=_LABEL, edgecolor=_LABEL, alpha=0.55, lw=1.0, zorder=1)
    verdicts = one.verdicts
    panel.fill_between(at, verdicts.lower, verdicts.upper, color=_BAND, alpha=0.5, lw=0, zorder=2)
    panel.plot(at, _broken(one), color=_VALUE, lw=0.65, zorder=3)
    _alarms(panel, one, at)
    _words(panel, one)
    locator = AutoDateLocator(minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
    panel.xaxis.set_major_locator(locator)
    panel.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    panel.yaxis.set_major_formatter(lambda value, _: fmt.scaled(value) if abs(value) >= 1000 else f"{value:g}")
    panel.tick_params(labelsize=8, colors=_INK, length=2.5)
    panel.xaxis.get_offset_text().set_fontsize(8)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        panel.spines[side].set_color("#b0bec5")


def _broken(one: PlottedSeries) -> Float64s:
    """Values with a hole behind a long gap, so that no line is drawn across it."""
    gaps = np.diff(one.ts)
    far = gaps > _GAP * max(float(np.median(gaps)), 1.0)
    return np.where(np.append(False, far), np.nan, one.values)


def _limits(one: PlottedSeries) -> tuple[float, float]:
    """Room for the values, and for markers above them; the band may leave it."""
    low, high = float(np.nanmin(one.values)), float(np.nanmax(one.values))
    room = (high - low) or abs(high) or 1.0
    return low - 0.05 * room, high + 0.14 * room


def _alarms(panel: Axes, one: PlottedSeries, at: Any) -> None:
    near = np.convolve(one.labels, np.ones(2 * _SLACK + 1), "same") > 0
    colours: dict[str, list[int]] = {_RIGHT: [], _WRONG: [], _EARLY: []}
    for first, last in runs(one.verdicts.alarm):
        right = bool(near[first : last + 1].any())
        colours[_EARLY if first < one.start else _RIGHT if right else _WRONG].append(first)
    # Heights are parts of the panel, so that markers stay at the top.
    across = panel.get_xaxis_transform()
    for colour, rows in colours.items():
        panel.vlines(at[rows], 0.0, 0.95, color=colour, lw=0.8, alpha=0.55, zorder=4, transform=across)
        panel.plot(at[rows], np.full(len(rows), 0.96), "v", color=colour, ms=5, mew=0, zorder=5, transform=across)


def _words(panel: Axes, one: PlottedSeries) -> None:
    counts = score_events(one.labels, one.verdicts.alarm, start=one.start)
    panel.set_title(one.name.split("/", maxsplit=1)[-1].removesuffix(".csv"), fontsize=10, loc="left", color=_INK)
    false = fmt.count(counts.episodes - counts.right, "false alarm")
    found = f"{counts.found} of {fmt.count(counts.events, 'event')} found, " if counts.events else ""
    panel.set_title(found + false, fontsize=8.5, loc="right", color=_INK)
