"""How a version in the shadow does beside the live one: counted while it scores, told once an hour of event time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from models.columns import Columns
from pipeline.detect.cells import part_of, prefixed
from pipeline.registry.report import agreement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]

GAP_FRAMES: Final = 15
"""Alarms at most so many frames apart are one episode, as when a threshold is calibrated."""
_HOUR_MS: Final = 3_600_000
_LAYOUT_VERSION: Final = 1
_SUMS: Final = ("n", "x", "y", "xx", "yy", "xy")
_ALARMS: Final = ("both", "only_shadow", "only_live", "neither")
_COUNTS: Final = (*_ALARMS, "unscored")
_TIMES: Final = ("since", "until", "told", "frames", "services")


class Episodes:
    """Alarms of one seat by service row: how many, and how many of them nobody else shared."""

    def __init__(self) -> None:
        self._rows = Columns(_LAYOUT_VERSION, {"last": ("i8", ()), "lone": ("?", ())})
        self.count = self.lone = 0

    def grow(self, rows: int) -> None:
        self._rows.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        self._rows.evict(rows[rows < self._rows.slots])

    def note(self, rows: npt.NDArray[np.int64], end: int, gap_ms: int, shared: Callable[[int], bool]) -> None:
        """Alarm in these rows, in the frame that ends here (ms)."""
        last, lone = self._rows["last"], self._rows["lone"]
        for row in rows.tolist():
            if end - int(last[row]) > gap_ms:
                self.count += 1
                self.lone += 1
                lone[row] = True
            last[row] = end
            if lone[row] and shared(row):
                lone[row] = False
                self.lone -= 1

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        return {**self._rows.snapshot(), "counts": np.array([self.count, self.lone])}

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        self._rows.restore({name: part for name, part in state.items() if name != "counts"})
        self.count, self.lone = (int(one) for one in np.asarray(state["counts"]).tolist())


class Beside(NamedTuple):
    """Both scores of one closed frame, float64[rows], NaN where there is none; `live` None: no version is live."""

    shadow: Floats
    live: Floats | None
    end: int
    shared: Callable[[int], bool]
    """Whether another detector has something against the service in this row."""


class Tally:
    """Of one model, since these two versions sit beside each other."""

    def __init__(self, frame_ms: int, bar: float) -> None:
        self._frame_ms = frame_ms
        self._bar = bar
        self._shadow, self._live, self._others = Episodes(), Episodes(), Episodes()
        self._times = dict.fromkeys(_TIMES, 0)
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._sums = dict.fromkeys(_SUMS, 0.0)

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        for one in (self._shadow, self._live, self._others):
            one.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        """These services are gone."""
        for one in (self._shadow, self._live, self._others):
            one.evict(rows)

    def note(self, beside: Beside) -> None:
        """Count one frame; before the version in the shadow has scored for the first time there is nothing to count."""
        scored = np.isfinite(beside.shadow)
        live = np.full(len(scored), np.nan) if beside.live is None else beside.live
        if self._times["since"]:
            self._counts["unscored"] += int((np.isfinite(live) & ~scored).sum())
        if not scored.any():
            return
        shadow_alarm, live_alarm = beside.shadow >= self._bar, live >= self._bar
        gap = GAP_FRAMES * self._frame_ms
        self._shadow.note(np.flatnonzero(shadow_alarm), beside.end, gap, beside.shared)
        self._live.note(np.flatnonzero(live_alarm & scored), beside.end, gap, beside.shared)
        seen = [row for row in np.flatnonzero(scored).tolist() if beside.shared(row)]
        self._others.note(np.array(seen, dtype=np.int64), beside.end, gap, beside.shared)
        pairs = (
            shadow_alarm & live_alarm,
            shadow_alarm & ~live_alarm,
            live_alarm & ~shadow_alarm & scored,
            scored & ~live_alarm & ~shadow_alarm,
        )
        for name, found in zip(_ALARMS, pairs, strict=True):
            self._counts[name] += int(found.sum())
        self._add(beside.shadow, live)
        times = self._times
        times["since"] = times["since"] or beside.end - self._frame_ms
        times["told"] = times["told"] or beside.end
        times["until"] = beside.end
        times["frames"] += 1
        times["services"] += int(scored.sum())

    def _add(self, x: Floats, y: Floats) -> None:
        there = np.isfinite(x) & np.isfinite(y)
        x, y = x[there], y[there]
        for name, values in zip(_SUMS, (np.ones(len(x)), x, y, x * x, y * y, x * y), strict=True):
            self._sums[name] += float(values.sum())

    @property
    def due(self) -> bool:
        """Whether an hour of event time has passed since this was last told."""
        return self._times["until"] // _HOUR_MS > self._times["told"] // _HOUR_MS

    @property
    def until(self) -> int:
        """Event time counted so far, ms; 0 before the first frame."""
        return self._times["until"]

    def tell(self) -> dict[str, Any]:
        """The counts as `pipeline.records.ShadowTally` has them; times in ms. It is told now."""
        times = self._times
        times["told"] = times["until"]
        frame_s = self._frame_ms / 1000
        return {
            "since": times["since"],
            "at": times["until"],
            "hours": times["frames"] * frame_s / 3600,
            "service_days": times["services"] * frame_s / 86_400,
            **self._counts,
            "correlation": self._correlation(),
            "shadow_episodes": self._shadow.count,
            "shadow_lone": self._shadow.lone,
            "live_episodes": self._live.count,
            "live_lone": self._live.lone,
            "other_episodes": self._others.count,
        }

    def counts(self) -> Mapping[str, int]:
        """Services' frames by who had an alarm."""
        return self._counts

    @property
    def agreement(self) -> float | None:
        """Of the services' frames in which either has an alarm, the share in which both have."""
        return agreement(self._counts["both"], self._counts["only_shadow"], self._counts["only_live"])

    def _correlation(self) -> float | None:
        n, x, y, xx, yy, xy = (self._sums[name] for name in _SUMS)
        spread = (n * xx - x * x) * (n * yy - y * y)
        return (n * xy - x * y) / math.sqrt(spread) if spread > 0 else None

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        return prefixed(
            shadow=self._shadow.snapshot(),
            live=self._live.snapshot(),
            others=self._others.snapshot(),
            sums={
                "times": np.array(list(self._times.values())),
                "counts": np.array(list(self._counts.values())),
                "sums": np.array(list(self._sums.values())),
            },
        )

    def keeps(self, state: Mapping[str, npt.NDArray[np.generic]]) -> bool:
        """Whether the snapshot is of a tally as it is counted now; an older program counted less."""
        return bool(part_of(state, "others"))

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit."""
        self._shadow.restore(part_of(state, "shadow"))
        self._live.restore(part_of(state, "live"))
        self._others.restore(part_of(state, "others"))
        sums = part_of(state, "sums")
        self._times = dict(zip(_TIMES, sums["times"].tolist(), strict=True))
        self._counts = dict(zip(_COUNTS, sums["counts"].tolist(), strict=True))
        self._sums = dict(zip(_SUMS, sums["sums"].tolist(), strict=True))
