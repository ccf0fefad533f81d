"""Trained models on all signals of a service: what a promoted one finds abnormal, and how one in the shadow would do.

Features are those of training (`models.offline.features`, for a band `models.offline.band_features`), made frame by
frame; versions over the same signals share them, so a promotion or a revert begins warm. They are made from a model's
first move on, and no online learner is touched.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline.detect.cells import part_of, prefixed
from pipeline.detect.trained.banding import LiveBands, Told
from pipeline.detect.trained.drift import Drift
from pipeline.detect.trained.opinions import BAR, Flags, Opinion
from pipeline.detect.trained.priors import Priors
from pipeline.detect.trained.ranking import Ranking
from pipeline.detect.trained.seats import Seating
from pipeline.detect.trained.shadow import Beside, Tally
from pipeline.detect.trained.tracks import Tracks
from pipeline.registry.manifest import EVERY_SERVICE, JUDGES, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import msgspec
    import numpy.typing as npt

    from pipeline.detect.frame import ClosedFrame, Flag
    from pipeline.detect.trained.seats import Scorer, Seats, Taken
    from pipeline.records import ModelMove, ModelPart
    from pipeline.signals.definitions import Signal

    Floats = npt.NDArray[np.float64]


class LiveScore(NamedTuple):
    """What the live version of a model says of a service in a frame.

    band: lower end, middle and upper end by signal in JSON, of a model that has bands.
    """

    version: str
    score: float
    band: msgspec.Raw | None = None


class TrainedModels:
    """The trained models of a partition, by name.

    After `judge`, `highest` holds the largest score of any live one, float64[rows], NaN where none has scored.
    """

    def __init__(self, signals: Mapping[str, Signal], frame_ms: int) -> None:
        self._names = list(signals)
        self._flags = Flags(self._names, [signal.worse for signal in signals.values()])
        self._frame_ms = frame_ms
        self._seating = Seating(self._names)
        self.ranking = Ranking(self._seating)
        self.priors = Priors(self._seating, self._names)
        self._tracks = Tracks(self._names)
        self._bands = LiveBands(self._names)
        self._told = Told()
        self._tallies: dict[str, Tally] = {}
        self._drifts: dict[str, Drift] = {}
        self._features: dict[tuple[str, ...], Floats] = {}
        self._live: dict[str, Opinion] = {}
        self._shadows: dict[str, Floats] = {}
        self._failures: Counter[str] = Counter()
        self._scored: Counter[str] = Counter()
        self._services: list[str] = []
        self._meant: dict[str, npt.NDArray[np.bool_]] = {}
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
        if taken.seats_changed:
            self._tallies.pop(move.model, None)
            if seats is not None and seats.shadow is not None and seats.shadow.kind in JUDGES:
                self._tallies[move.model] = self._new_tally()
        self._keep_drift(move.model, None if seats is None else seats.live)
        self._tracks.keep({scorer.signals for scorer in self._seating.held(Kind.DETECTOR)})
        self._bands.keep(self._seating.held(Kind.BAND))
        return taken

    def _keep_drift(self, model: str, live: Scorer | None) -> None:
        """Each version is watched anew from when it is live."""
        if live is None or live.kind not in JUDGES:
            self._drifts.pop(model, None)
        elif model not in self._drifts or self._drifts[model].version != live.version:
            self._drifts[model] = Drift(live, self._frame_ms)

    def _new_tally(self) -> Tally:
        return Tally(self._frame_ms, BAR)

    # --- frames -----------------------------------------------------------------------------------------------

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        self._tracks.grow(rows)
        self._bands.grow(rows)
        for tally in self._tallies.values():
            tally.grow(rows)
        for drift in self._drifts.values():
            drift.grow(rows)

    def attach(self, row: int, service: str) -> None:
        """A service has this row from now on."""
        self._services += [""] * (row + 1 - len(self._services))
        self._services[row] = service
        self._meant.clear()

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        """These services are gone."""
        for row in rows[rows < len(self._services)].tolist():
            self._services[row] = ""
        self._meant.clear()
        self._tracks.evict(rows)
        self._bands.evict(rows)
        for tally in self._tallies.values():
            tally.evict(rows)
        for drift in self._drifts.values():
            drift.evict(rows)

    def judge(self, frame: ClosedFrame) -> Iterator[Flag]:
        """Services that a live model finds abnormal."""
        rows = len(frame.values)
        self._live, self._shadows, self.highest = {}, {}, np.full(rows, np.nan)
        if not self._tracks and not self._bands:
            return
        # A model that came since has no rows yet.
        self.grow(rows)
        self._features = self._tracks.advance(frame.values)
        self._bands.advance(frame)
        for name, seats in sorted(self._seating.judges().items()):
            if seats.shadow is not None:
                self._shadows[name] = self._opinion(name, seats.shadow).score
            if seats.live is not None:
                self._live[name] = opinion = self._opinion(name, seats.live)
                self.highest = np.fmax(self.highest, opinion.score)
                yield from self._flags.of(name, seats.live, frame, opinion)

    def _opinion(self, name: str, scorer: Scorer) -> Opinion:
        try:
            opinion = self._banded(scorer) if scorer.kind == Kind.BAND else self._featured(scorer)
        except Exception as error:  # noqa: BLE001  an estimator raises whatever it stumbles over; detect goes on
            self._failures[type(error).__name__] += 1
            nothing = np.full((len(self.highest), len(scorer.signals)), np.nan)
            return Opinion(nothing[:, 0], nothing)
        self._scored[f'model="{name}",version="{scorer.version}"'] += int(np.isfinite(opinion.score).sum())
        return opinion

    def _meant_for(self, scorer: Scorer) -> npt.NDArray[np.bool_] | None:
        """The services that this version is for, bool[rows]; None: all of them."""
        if scorer.services.pattern == EVERY_SERVICE:
            return None
        if scorer.version not in self._meant:
            self._meant[scorer.version] = scorer.judges(self._services)
        return self._meant[scorer.version]

    def _featured(self, scorer: Scorer) -> Opinion:
        features = _only(self._meant_for(scorer), self._features[scorer.signals])
        score = scorer.share(features)
        self._note_missing(score, np.asarray(np.isfinite(features).all(axis=1)))
        return Opinion(score, features)

    def _banded(self, scorer: Scorer) -> Opinion:
        meant = self._meant_for(scorer)
        judged = self._bands.judge(scorer, _only(meant, self._bands.away(scorer)), meant)
        score = scorer.share_of(judged.services())
        self._note_missing(score, judged.wanted)
        return Opinion(score, judged.cells, judged.band)

    def _note_missing(self, score: Floats, wanted: npt.NDArray[np.bool_]) -> None:
        missing = int((~np.isfinite(score) & wanted).sum())
        if missing:
            self._failures["not_finite"] += missing

    def compare(self, end: int, shared: Callable[[int], bool]) -> None:
        """Count how versions in the shadow did in the frame just judged, which ended here (ms); watch the live ones.

        `shared` tells whether another detector has something against the service in this row.
        """
        for name, tally in self._tallies.items():
            if name in self._shadows:
                live = self._live[name].score if name in self._live else None
                tally.note(Beside(self._shadows[name], live, end, shared))
        for name, opinion in self._live.items():
            if name in self._drifts:
                self._drifts[name].note(opinion.away, opinion.score >= BAR, end, shared)

    def scores(self, row: int) -> dict[str, LiveScore]:
        """What each live model says of this service row in the frame just judged."""
        found = {}
        for name, opinion in self._live.items():
            live, score = self._seating.models[name].live, float(opinion.score[row])
            if live is not None and math.isfinite(score):
                found[name] = LiveScore(live.version, score, self._told.of(name, live.signals, opinion.band, row))
        return found

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

    def agreements(self) -> dict[str, float]:
        """By model, how far the version in the shadow raises alarms where the live one does; where either has any."""
        found = {name: tally.agreement for name, tally in self._tallies.items()}
        return {name: share for name, share in found.items() if share is not None}

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
            bands=self._bands.snapshot(),
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
        self._bands.restore(_grouped(part_of(state, "bands")), self._seating.held(Kind.BAND))
        for model, kept in _grouped(part_of(state, "tallies")).items():
            if self._seating.models[model].shadow is not None:
                tally = self._tallies[model] = self._new_tally()
                if tally.keeps(kept):
                    tally.restore(kept)
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


def _only(meant: npt.NDArray[np.bool_] | None, values: Floats) -> Floats:
    """The same float64[rows, columns], NaN in rows that are not meant."""
    return values if meant is None else np.where(meant[:, None], values, np.nan)
