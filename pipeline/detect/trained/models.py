"""Trained models on all signals of a service: what a promoted one finds abnormal, and how one in the shadow would do.

Features are those of training (`models.offline.features`), made frame by frame; versions over the same signals share
them, so a promotion or a revert begins warm. They are made from a model's first move on, and no online learner is
touched.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline.detect.cells import part_of, prefixed
from pipeline.detect.frame import TOGETHER, ClosedFrame, Contributor, Flag
from pipeline.detect.trained.drift import Drift
from pipeline.detect.trained.priors import Priors
from pipeline.detect.trained.ranking import Ranking
from pipeline.detect.trained.seats import Seating
from pipeline.detect.trained.shadow import Beside, Tally
from pipeline.detect.trained.tracks import Tracks
from pipeline.records import Detector, Severity
from pipeline.registry.manifest import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

    from pipeline.detect.trained.seats import Scorer, Seats, Taken
    from pipeline.records import ModelMove, ModelPart
    from pipeline.signals.definitions import Signal

    Floats = npt.NDArray[np.float64]

BAR = 0.5
"""Share of abnormality from which on there is an alarm: the model's threshold."""
_NAMED = 5
"""Signals that an anomaly names, those with the largest shares …"""
_LEAST_SHARE = 0.1
"""… but none with less."""


class LiveScore(NamedTuple):
    """What the live version of a model says of a service in a frame."""

    version: str
    score: float


class TrainedModels:
    """The trained models of a partition, by name.

    After `judge`, `highest` holds the largest score of any live one, float64[rows], NaN where none has scored.
    """

    def __init__(self, signals: Mapping[str, Signal], frame_ms: int) -> None:
        self._names = list(signals)
        self._worse = [signal.worse for signal in signals.values()]
        self._frame_ms = frame_ms
        self._seating = Seating(self._names)
        self.ranking = Ranking(self._seating)
        self.priors = Priors(self._seating, self._names)
        self._tracks = Tracks(self._names)
        self._tallies: dict[str, Tally] = {}
        self._drifts: dict[str, Drift] = {}
        self._scores: dict[str, tuple[str, Floats]] = {}
        self._failures: Counter[str] = Counter()
        self._scored: Counter[str] = Counter()
        self.highest = np.zeros(0)
        self.unusable: list[str] = []
        """Models of the snapshot that this program cannot use, and why; for whoever tells people."""

    # --- who runs ---------------------------------------------------------------------------------------------

    def bring(self, part: ModelPart) -> None:
        """A piece of a model, ahead of the move that needs it."""
        self._seating.bring(part)

    def take(self, move: ModelMove) -> Taken | None:
        """From the next frame on these versions run; None where nothing changes."""
        taken = self._seating.take(move)
        if taken is None:
            return None
        seats = self._seating.models.get(move.model)
        if taken.shadow_changed:
            self._tallies.pop(move.model, None)
            if seats is not None and seats.shadow is not None and seats.shadow.kind == Kind.DETECTOR:
                self._tallies[move.model] = self._new_tally()
        self._keep_drift(move.model, None if seats is None else seats.live)
        wanted = {scorer.signals for seats in self._seating.detectors().values() for _, scorer in seats.held()}
        self._tracks.keep(wanted)
        return taken

    def _keep_drift(self, model: str, live: Scorer | None) -> None:
        """Each version is watched anew from when it is live."""
        if live is None or live.kind != Kind.DETECTOR:
            self._drifts.pop(model, None)
        elif model not in self._drifts or self._drifts[model].version != live.version:
            self._drifts[model] = Drift(live, self._frame_ms)

    def _new_tally(self) -> Tally:
        return Tally(self._frame_ms, BAR)

    # --- frames -----------------------------------------------------------------------------------------------

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        self._tracks.grow(rows)
        for tally in self._tallies.values():
            tally.grow(rows)
        for drift in self._drifts.values():
            drift.grow(rows)

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        """These services are gone."""
        self._tracks.evict(rows)
        for tally in self._tallies.values():
            tally.evict(rows)
        for drift in self._drifts.values():
            drift.evict(rows)

    def judge(self, frame: ClosedFrame) -> Iterator[Flag]:
        """Services that a live model finds abnormal."""
        rows = len(frame.values)
        self._scores, self.highest = {}, np.full(rows, np.nan)
        if not self._tracks:
            return
        # A model that came since has no rows yet.
        self.grow(rows)
        self._features = features = self._tracks.advance(frame.values)
        self._shadows: dict[str, Floats] = {}
        for name, seats in sorted(self._seating.detectors().items()):
            if seats.shadow is not None:
                self._shadows[name] = self._score(name, seats.shadow, features[seats.shadow.signals])
            if seats.live is not None:
                score = self._score(name, seats.live, features[seats.live.signals])
                self._scores[name] = (seats.live.version, score)
                self.highest = np.fmax(self.highest, score)
                yield from self._flags(name, seats.live, frame, features[seats.live.signals])

    def _score(self, name: str, scorer: Scorer, features: Floats) -> Floats:
        try:
            score = scorer.share(features)
        except Exception as error:  # noqa: BLE001  an estimator raises whatever it stumbles over; detect goes on
            self._failures[type(error).__name__] += 1
            return np.full(len(features), np.nan)
        missing = int((~np.isfinite(score) & np.isfinite(features).all(axis=1)).sum())
        if missing:
            self._failures["not_finite"] += missing
        self._scored[f'model="{name}",version="{scorer.version}"'] += int(np.isfinite(score).sum())
        return score

    def _flags(self, name: str, scorer: Scorer, frame: ClosedFrame, features: Floats) -> Iterator[Flag]:
        _, score = self._scores[name]
        for row in np.flatnonzero(score >= BAR).tolist():
            contributors, severity = self._contributors(scorer.signals, features[row], frame.values[row])
            yield Flag(
                row=row,
                column=TOGETHER,
                detector=Detector.TRAINED,
                severity=severity,
                score=float(score[row]),
                since=frame.end,
                rule=f"{name} {scorer.version}",
                contributors=contributors,
            )

    def _contributors(
        self, signals: tuple[str, ...], features: Floats, values: Floats
    ) -> tuple[tuple[Contributor, ...], Severity]:
        """Signals by their share of the squared distances from the usual; a warning where a named one hurts."""
        away = features[: len(signals)]
        shares = away**2 / max(float((away**2).sum()), 1e-12)
        named = [at for at in np.argsort(-shares, kind="stable")[:_NAMED].tolist() if shares[at] >= _LEAST_SHARE]
        columns = [self._names.index(signals[at]) for at in named]
        found = tuple(
            Contributor(signals[at], float(shares[at]), float(values[column]), float("nan"))
            for at, column in zip(named, columns, strict=True)
            if np.isfinite(values[column])
        )
        hurts = any(
            self._worse[column] == "both" or (self._worse[column] == "up") == (away[at] > 0)
            for at, column in zip(named, columns, strict=True)
        )
        return found, Severity.WARNING if hurts else Severity.INFO

    def compare(self, end: int, shared: Callable[[int], bool]) -> None:
        """Count how versions in the shadow did in the frame just judged, which ended here (ms); watch the live ones.

        `shared` tells whether another detector has something against the service in this row.
        """
        for name, tally in self._tallies.items():
            if name in self._shadows:
                live = self._scores[name][1] if name in self._scores else None
                tally.note(Beside(self._shadows[name], live, end, shared))
        for name, (_, score) in self._scores.items():
            live_one = self._seating.models[name].live
            if live_one is not None:
                self._drifts[name].note(self._features[live_one.signals], score >= BAR, end, shared)

    def scores(self, row: int) -> dict[str, LiveScore]:
        """What each live model says of this service row in the frame just judged."""
        return {
            name: LiveScore(version, float(score[row]))
            for name, (version, score) in self._scores.items()
            if np.isfinite(score[row])
        }

    # --- what is told -----------------------------------------------------------------------------------------

    def tallies(self, *, of: str | None = None) -> Iterator[tuple[str, Seats, dict[str, Any]]]:
        """Models whose shadow is to be told of now, or this one where it has anything to tell."""
        for name, tally in sorted(self._tallies.items()):
            if tally.due if of is None else (name == of and tally.until):
                yield name, self._seating.models[name], tally.tell()

    def drifted(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Models whose training is due by what the day just over has shown: name, version, and why."""
        for name, drift in sorted(self._drifts.items()):
            due = drift.due()
            if due is not None:
                yield name, drift.version, due

    def statistics(self) -> dict[str, float]:
        """Versions that run, services scored, alarms compared, failures of models."""
        found = {
            f'ranker_failures_total{{error="{error}"}}': float(count) for error, count in self.ranking.failures.items()
        }
        found["warm_starts_total"] = float(self.priors.started)
        for name, seats in self._seating.models.items():
            for seat, scorer in seats.held():
                found[f'trained_models{{model="{name}",version="{scorer.version}",seat="{seat}"}}'] = 1.0
        found |= {f"trained_scores_total{{{labels}}}": float(count) for labels, count in self._scored.items()}
        for name, tally in self._tallies.items():
            for who, count in tally.counts().items():
                found[f'shadow_scores_total{{model="{name}",alarm="{who}"}}'] = float(count)
        return found

    @property
    def failures(self) -> Mapping[str, int]:
        """How often a model raised, or gave no number, by the error's type."""
        return self._failures

    # --- state ------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        return prefixed(
            seating=self._seating.snapshot(),
            ranking=self.ranking.snapshot(),
            features=self._tracks.snapshot(),
            tallies={
                f"{model}|{name}": part
                for model, tally in self._tallies.items()
                for name, part in tally.snapshot().items()
            },
            drifts={
                f"{model}|{name}": part
                for model, drift in self._drifts.items()
                for name, part in drift.snapshot().items()
            },
        )

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot; without models where it knows of none. Raises ValueError."""
        self.unusable = self._seating.restore(part_of(state, "seating"))
        self.ranking.restore(part_of(state, "ranking"))
        self._tallies, self._drifts = {}, {}
        self._tracks.restore(_grouped(part_of(state, "features")))
        for model, kept in _grouped(part_of(state, "tallies")).items():
            if self._seating.models[model].shadow is not None:
                self._tallies[model] = self._new_tally()
                self._tallies[model].restore(kept)
        drifts = _grouped(part_of(state, "drifts"))
        for model, seats in self._seating.models.items():
            self._keep_drift(model, seats.live)
            if seats.live is not None and model in drifts:
                self._drifts[model].restore(drifts[model])


def _grouped(state: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, dict[str, npt.NDArray[np.generic]]]:
    """Arrays called `group|name` by group and name."""
    found: dict[str, dict[str, npt.NDArray[np.generic]]] = {}
    for key, part in state.items():
        group, _, name = key.rpartition("|")
        found.setdefault(group, {})[name] = part
    return found
