"""Whether a live model's world is still the one it was trained on: looked at once a day of event time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.offline.stability import BINS, MOVED, MOVED_SHARE, counted, indices
from pipeline.detect.cells import part_of, prefixed
from pipeline.detect.trained.shadow import GAP_FRAMES, Episodes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from pipeline.detect.trained.seats import Scorer

    Floats = npt.NDArray[np.float64]

_DAY_MS: Final = 86_400_000
_EVERY: Final = 5
"""Frames from one count of features to the next: neighbours tell much the same."""
_FEWEST_ROWS: Final = 200
"""In which a feature has a value, that it can be told to have moved."""
_FEWEST_ALARMS: Final = 10
_FALLEN: Final = 0.5
"""What is left of the agreement with other detectors where it has fallen."""
_NAMED: Final = 5


class Drift:
    """Of one live version in one partition, since it is live.

    Two things say that training is due: a quarter of its features have moved (`models.offline.stability`); or of its
    alarms in a day half as large a share was shared by another detector as in the days before.
    """

    def __init__(self, scorer: Scorer, frame_ms: int) -> None:
        self.version = scorer.version
        self._names = scorer.names
        self._usual = scorer.usual
        self._frame_ms = frame_ms
        self._alarms = Episodes()
        self._counts = np.zeros((len(self._names), BINS), dtype=np.int64)
        self._times = np.zeros(2, dtype=np.int64)
        self._before = np.zeros(2, dtype=np.int64)

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        self._alarms.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        """These services are gone."""
        self._alarms.evict(rows)

    def note(self, features: Floats, alarm: npt.NDArray[np.bool_], end: int, shared: Callable[[int], bool]) -> None:
        """One frame that ends here (ms): alarm bool[rows], features float64[rows, features].

        Of a band a feature is how far a signal is from its middle (`models.offline.bands`).
        """
        self._times[0] = self._times[0] or end - self._frame_ms
        self._times[1] = end
        if self._usual is not None and end // self._frame_ms % _EVERY == 0:
            self._counts += counted(features)
        self._alarms.note(np.flatnonzero(alarm), end, GAP_FRAMES * self._frame_ms, shared)

    def due(self) -> dict[str, Any] | None:
        """What has moved in the day that is over, as `pipeline.records.RetrainingDue` has it; None: nothing has.

        Times in ms. Asked after each frame; a new day begins with the answer.
        """
        since, until = self._times.tolist()
        if until - since < _DAY_MS:
            return None
        reasons, moved = [], self._moved()
        if len(moved) >= MOVED_SHARE * len(self._names):
            reasons.append(f"{len(moved)} of {len(self._names)} features have moved since the training")
        agreement, before = self._agreements()
        if agreement is not None and before is not None and agreement < _FALLEN * before:
            reasons.append(
                f"another detector shared {agreement:.0%} of its alarms in a day, {before:.0%} in the days before"
            )
        self._begin_day(until)
        if not reasons:
            return None
        return {
            "since": since,
            "at": until,
            "reason": "; ".join(reasons),
            "moved": moved[:_NAMED],
            "agreement": agreement,
            "agreement_before": before,
        }

    def _moved(self) -> list[str]:
        """Features that have moved, the furthest first."""
        if self._usual is None:
            return []
        found = indices(self._counts, self._usual)
        moved = (found >= MOVED) & (self._counts.sum(axis=1) >= _FEWEST_ROWS)
        return [self._names[at] for at in np.argsort(-found, kind="stable").tolist() if moved[at]]

    def _agreements(self) -> tuple[float | None, float | None]:
        """Share of alarms that another detector shared: in this day, and in those before; None for few alarms."""
        before = self._before
        day = np.array([self._alarms.count, self._alarms.lone]) - before
        today, then = (float(1 - lone / count) if count >= _FEWEST_ALARMS else None for count, lone in (day, before))
        return today, then

    def _begin_day(self, at: int) -> None:
        self._counts[:] = 0
        self._times[0] = at
        self._before[:] = self._alarms.count, self._alarms.lone

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        own = {"counts": self._counts.copy(), "times": self._times.copy(), "before": self._before.copy()}
        return prefixed(alarms=self._alarms.snapshot(), own=own)

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit."""
        own = part_of(state, "own")
        if own["counts"].shape != self._counts.shape:
            raise ValueError("the snapshot is of other features")
        self._alarms.restore(part_of(state, "alarms"))
        for name in ("counts", "times", "before"):
            getattr(self, f"_{name}")[:] = own[name]
