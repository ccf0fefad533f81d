"""Error budgets that burn too fast: objectives with several windows (Google, The Site Reliability Workbook, ch. 5).

A rule fires while both its long and its short window burn the budget at its rate: the long one says that it matters,
the short one that it goes on. Requests and failures are counted in buckets of five minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from models.columns import Columns
from pipeline.detect.cells import Cells, part_of, prefixed
from pipeline.detect.frame import ClosedFrame, Flag
from pipeline.records import Detector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from pipeline.detect.detectors.thresholds import BurnAlert, Objective

    Float64s = npt.NDArray[np.float64]

_LAYOUT_VERSION: Final = 1
_BUCKET_MS: Final = 300_000
_LEAST_FAILURES: Final = 10.0
"""Failures in the long window below which a rate says little."""


class BurnRates:
    """Every objective on every service that it concerns."""

    def __init__(self, objectives: Mapping[str, Objective], signals: Sequence[str], frame_ms: int) -> None:
        self._objectives = list(objectives.items())
        self._columns = [signals.index(objective.signal) for _, objective in self._objectives]
        self._rates = [signals.index(objective.requests) for _, objective in self._objectives]
        self._bucket_ms = max(_BUCKET_MS, frame_ms)
        longest = max((alert.long_ms for _, one in self._objectives for alert in one.alerts), default=self._bucket_ms)
        self._size = longest // self._bucket_ms + 1
        self._concerns: dict[int, npt.NDArray[np.bool_]] = {}
        self._cells = Cells(len(self._objectives))
        shape = (self._size,)
        most = max((len(one.alerts) for _, one in self._objectives), default=1)
        self._state = Columns(
            _LAYOUT_VERSION,
            {"requests": ("f4", shape), "failures": ("f4", shape), "bucket": ("i8", ()), "since": ("i8", (most,))},
        )

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        self._cells.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        """These services are gone."""
        for row in rows.tolist():
            self._concerns.pop(row, None)
        self._cells.evict(rows, self._state)

    def attach(self, row: int, service: str) -> None:
        """A service has this row from now on."""
        concerned = np.array([objective.concerns(service) for _, objective in self._objectives], dtype=bool)
        if concerned.any():
            self._concerns[row] = concerned

    def judge(self, frame: ClosedFrame) -> Iterator[Flag]:
        """The rules that fire at the end of this frame."""
        if not self._concerns:
            return
        rows = np.array(sorted(row for row in self._concerns if row < len(frame.values)), dtype=np.int64)
        concerned = np.array([self._concerns[row] for row in rows.tolist()]).reshape(len(rows), -1)
        seconds = (frame.end - frame.start) / 1000.0
        for number, (objective_id, objective) in enumerate(self._objectives):
            mine = rows[concerned[:, number]] if len(rows) else rows
            share = frame.values[mine, self._columns[number]]
            requests = frame.values[mine, self._rates[number]] * seconds
            self._cells.take(mine, np.full(len(mine), number))
            self._state.grow(self._cells.slots)
            slots = self._cells.table()[mine, number]
            self._count(slots, frame.start // self._bucket_ms, requests, (1.0 - share) * requests)
            yield from self._flags(number, objective_id, objective, mine, slots, frame)

    def _count(self, slots: npt.NDArray[np.int32], bucket: int, requests: Float64s, failures: Float64s) -> None:
        """Add to the bucket; those between the last one and this are empty."""
        newest = self._state["bucket"]
        for slot in slots[newest[slots] < bucket].tolist():
            gone = np.arange(max(newest[slot] + 1, bucket - self._size + 1), bucket + 1) % self._size
            self._state["requests"][slot, gone] = 0.0
            self._state["failures"][slot, gone] = 0.0
            newest[slot] = bucket
        place = bucket % self._size
        self._state["requests"][slots, place] += np.nan_to_num(requests)
        self._state["failures"][slots, place] += np.nan_to_num(failures)

    def _flags(
        self,
        number: int,
        objective_id: str,
        objective: Objective,
        rows: npt.NDArray[np.int64],
        slots: npt.NDArray[np.int32],
        frame: ClosedFrame,
    ) -> Iterator[Flag]:
        bucket = frame.start // self._bucket_ms
        for place, alert in enumerate(objective.alerts):
            long, failures = self._burn(slots, bucket, alert.long_ms, objective)
            short, _ = self._burn(slots, bucket, alert.short_ms, objective)
            since = self._state["since"][slots, place]
            firing = (long >= alert.burn) & (short >= alert.burn) & (failures >= _LEAST_FAILURES)
            since = np.where(firing, np.where(since == 0, frame.start, since), 0)
            self._state["since"][slots, place] = since
            for at in np.flatnonzero(firing).tolist():
                yield self._flag(
                    number, f"{objective_id}_{alert.name}", alert, int(rows[at]), int(since[at]), float(long[at])
                )

    def _burn(
        self, slots: npt.NDArray[np.int32], bucket: int, window_ms: int, objective: Objective
    ) -> tuple[Float64s, Float64s]:
        """How many times faster than allowed the budget is used over the window, and the failures in it."""
        places = np.arange(bucket - max(1, window_ms // self._bucket_ms), bucket + 1) % self._size
        requests = self._state["requests"][slots][:, places].sum(axis=1, dtype=np.float64)
        failures = self._state["failures"][slots][:, places].sum(axis=1, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(requests > 0, failures / requests, 0.0)
        return share / (1.0 - objective.objective), failures

    def _flag(self, number: int, rule: str, alert: BurnAlert, row: int, since: int, burn: float) -> Flag:
        return Flag(
            row=row,
            column=self._columns[number],
            detector=Detector.BURN_RATE,
            severity=alert.severity,
            score=min(1.0, burn / (2.0 * alert.burn)),
            since=since,
            rule=rule,
            threshold=alert.burn,
        )

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        concerned = {
            "rows": np.array(sorted(self._concerns), dtype=np.int64),
            "which": np.array([self._concerns[row] for row in sorted(self._concerns)], dtype=bool),
        }
        return prefixed(cells=self._cells.snapshot(), state=self._state.snapshot(), concerns=concerned)

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become the rules that gave this snapshot. Raises ValueError where they do not fit."""
        self._cells.restore(part_of(state, "cells"))
        self._state.restore(part_of(state, "state"))
        concerned = part_of(state, "concerns")
        which = np.asarray(concerned["which"], dtype=bool).reshape(-1, len(self._objectives))
        self._concerns = dict(zip(np.asarray(concerned["rows"]).tolist(), which, strict=True))
