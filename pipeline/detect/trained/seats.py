"""Which versions of the trained models run: one seat live, one in the shadow, for each model.

A move says who sits where; the models themselves came before it in the same log, in pieces. A seat whose new holder
did not come, or cannot be used, keeps the one before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
from scipy.special import expit

from models.offline.scoring import abnormality
from models.offline.stability import BINS
from pipeline.errors import ModelError
from pipeline.records import to_ms
from pipeline.registry.admission import probe, signals_of
from pipeline.registry.manifest import JUDGES, Kind
from pipeline.registry.package import unpack

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from pipeline.records import ModelMove, ModelPart
    from pipeline.registry.manifest import ModelManifest

MAX_MODELS: Final = 8
"""Models that a partition runs at once; a move of a further one is refused."""
_WAITING: Final = 4
"""Versions whose pieces may wait for their move."""
_DECIMALS: Final = 9
"""Of a raw score: what is beyond depends on how many rows a matrix product has."""
_PROBED: Final = 256


class Scorer(NamedTuple):
    """A version that can score: its estimator, alarm threshold, and how far scores of ordinary features lie apart.

    A ranker scores anomalies and not services, priors score nothing: both have no signals here.
    """

    kind: str
    version: str
    signals: tuple[str, ...]
    estimator: Any
    threshold: float
    spread: float
    names: tuple[str, ...]
    """Of its features."""
    usual: npt.NDArray[np.float64] | None
    """Shares of their values by bin in training, float64[features, bins]; None where nobody has kept them."""
    packed: bytes
    services: re.Pattern[str]
    """Whole names of those that it judges."""

    def judges(self, names: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which of these services it judges, bool[n]; an empty name is none."""
        return np.array([name != "" and self.services.fullmatch(name) is not None for name in names], dtype=bool)

    def share(self, features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """How abnormal each row is, float64[n] from 0 to 1, an alarm from 0.5 on; NaN while warming up.

        The logistic function of the raw score's distance from the threshold, in spreads.
        """
        return self.share_of(np.round(abnormality(self.estimator, features), _DECIMALS))

    def share_of(self, raw: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The same of scores that are known already, float64[n]: those of a band (`models.offline.bands`)."""
        return np.asarray(expit((raw - self.threshold) / self.spread))


def scorer_of(packed: bytes, place: str, signals: Collection[str]) -> Scorer:
    """A packed version, ready to score. Raises ModelError where it cannot be."""
    manifest, estimator = unpack(packed, place)
    expected = signals_of(manifest)
    unknown = sorted(set(expected) - set(signals))
    if unknown or (manifest.threshold is None and manifest.kind != Kind.PRIORS):
        lacking = f"the signals {', '.join(unknown)} are not defined here" if unknown else "it has no threshold"
        raise ModelError(f"{place}: {lacking}; run all workers with the same configuration, or train it again")
    kind, names, threshold = manifest.kind, manifest.features.names, manifest.threshold
    services = re.compile(manifest.services)
    if kind in (Kind.RANKER, Kind.PRIORS) or threshold is None:
        return Scorer(kind, manifest.version, (), estimator, threshold or 0.0, 1.0, names, None, packed, services)
    spread = 1.0 if kind == Kind.BAND else _spread(estimator, len(names))
    usual = _usual(manifest, place)
    return Scorer(kind, manifest.version, expected, estimator, threshold, spread, names, usual, packed, services)


def _spread(detector: Any, width: int) -> float:
    """Of the scores of ordinary features; those of a band are in halves of bands, whatever the estimator."""
    found = float(np.std(abnormality(detector, probe(width, _PROBED))))
    return found if np.isfinite(found) and found > 0 else 1.0


def _usual(manifest: ModelManifest, place: str) -> npt.NDArray[np.float64] | None:
    if not manifest.usual:
        return None
    if {len(row) for row in manifest.usual} != {BINS} or len(manifest.usual) != len(manifest.features.names):
        raise ModelError(f"{place}: the shares of its features' values are not {BINS} for each; train it again")
    return np.array(manifest.usual)


@dataclass(slots=True)
class Seats:
    """Of one model: the last move that was taken (its number and time, ms), and who sits."""

    number: int = 0
    at: int = 0
    live: Scorer | None = None
    shadow: Scorer | None = None

    def held(self) -> Iterator[tuple[str, Scorer]]:
        """The seats that are taken."""
        for seat in ("live", "shadow"):
            scorer = getattr(self, seat)
            if scorer is not None:
                yield seat, scorer


class Taken(NamedTuple):
    """What became of a move; `reason` is empty where all of it was done."""

    seats_changed: bool
    """Whether other versions are compared from here on."""
    reason: str


@dataclass(slots=True)
class Seating:
    """The seats of all models, by name, and the pieces that wait for a move."""

    signals: Collection[str]
    models: dict[str, Seats] = field(default_factory=dict)
    _pieces: dict[tuple[str, str], dict[int, bytes]] = field(default_factory=dict)
    _counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def judges(self) -> dict[str, Seats]:
        """The models that judge services, by name."""
        return {name: one for name, one in self.models.items() if all(held.kind in JUDGES for _, held in one.held())}

    def held(self, kind: Kind) -> list[Scorer]:
        """The versions of this kind that have a seat."""
        return [one for seats in self.models.values() for _, one in seats.held() if one.kind == kind]

    def only(self, kind: str) -> tuple[str, Scorer] | None:
        """Name and live version of a kind of which one speaks, of several the first by name; None without one."""
        for name, seats in sorted(self.models.items()):
            if seats.live is not None and seats.live.kind == kind:
                return name, seats.live
        return None

    def bring(self, part: ModelPart) -> None:
        """A piece of a version; more versions than may wait push out the oldest."""
        key = (part.model, part.version)
        if part.number == 0:
            self._drop(key)
        self._pieces.setdefault(key, {})[part.number] = part.content
        self._counts[key] = part.of
        while len(self._pieces) > _WAITING:
            self._drop(next(iter(self._pieces)))

    def take(self, move: ModelMove) -> Taken | None:
        """Who sits after this move; None where a later one was taken before, or nothing changes."""
        seats = self.models.get(move.model)
        if seats is None:
            if sum(any(one.held()) for one in self.models.values()) >= MAX_MODELS:
                return Taken(seats_changed=False, reason=f"{MAX_MODELS} models run here already; none more is taken")
            seats = Seats()
        at = to_ms(move.at)
        if move.number < seats.number and at <= seats.at:
            return None
        before = (seats.live, seats.shadow)
        known = {scorer.version: scorer for _, scorer in seats.held()}
        problems = []
        for seat, version in (("live", move.live), ("shadow", move.shadow)):
            try:
                setattr(seats, seat, None if version is None else self._holder(move.model, version, known))
            except ModelError as error:
                problems.append(str(error))
        is_new = (seats.number, seats.at) != (move.number, at)
        seats.number, seats.at = move.number, at
        self.models[move.model] = seats
        for key in [key for key in self._pieces if key[0] == move.model]:
            self._drop(key)
        if not is_new and before == (seats.live, seats.shadow):
            return None
        return Taken(before != (seats.live, seats.shadow), "; ".join(problems))

    def _holder(self, model: str, version: str, known: Mapping[str, Scorer]) -> Scorer:
        if version in known:
            return known[version]
        key = (model, version)
        pieces = self._pieces.get(key, {})
        if not pieces or len(pieces) != self._counts[key]:
            raise ModelError(f"{model} {version} did not come along whole; repeat the move")
        scorer = scorer_of(b"".join(pieces[number] for number in sorted(pieces)), f"{model} {version}", self.signals)
        if scorer.version != version:
            raise ModelError(f"{model} {version}: came along as {scorer.version}; repeat the move")
        return scorer

    def _drop(self, key: tuple[str, str]) -> None:
        self._pieces.pop(key, None)
        self._counts.pop(key, None)

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state: each model as it came, so that nothing but the snapshot is needed again."""
        table = {
            name: [seats.number, seats.at, {seat: scorer.version for seat, scorer in seats.held()}]
            for name, seats in sorted(self.models.items())
        }
        waiting = [[*key, self._counts[key], pieces] for key, pieces in self._pieces.items()]
        state = {"table": _array(msgspec.msgpack.encode([table, waiting]))}
        for name, seats in self.models.items():
            state.update({f"model/{name}/{one.version}": _array(one.packed) for _, one in seats.held()})
        return state

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> list[str]:
        """Become what gave this snapshot, but for models that this program cannot use; why it cannot.

        Raises ValueError where it does not fit.
        """
        self.models, self._pieces, self._counts = {}, {}, {}
        if "table" not in state:
            return []
        table, waiting = msgspec.msgpack.decode(
            state["table"].tobytes(),
            type=tuple[dict[str, tuple[int, int, dict[str, str]]], list[tuple[str, str, int, dict[int, bytes]]]],
        )
        for model, version, count, pieces in waiting:
            self._pieces[model, version], self._counts[model, version] = pieces, count
        problems = []
        for name, (number, at, held) in table.items():
            seats = self.models[name] = Seats(number, at)
            for seat, version in held.items():
                try:
                    packed = state[f"model/{name}/{version}"].tobytes()
                    setattr(seats, seat, scorer_of(packed, f"{name} {version}", self.signals))
                except ModelError as error:
                    problems.append(str(error))
        return problems


def _array(content: bytes) -> npt.NDArray[np.generic]:
    return np.frombuffer(content, dtype=np.uint8).copy()
