"""The multivariate learner: vectors of signals in, alarms with the contributing signals out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.contracts import VectorVerdicts
from models.multivariate.calibration import Calibration
from models.multivariate.covariance import Covariance
from models.multivariate.normaliser import Normaliser

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from models.contracts import Float64s, Int32s
    from models.multivariate.scorer import VectorScorer

_UNIT_S: Final = 60.0
_IDENTITY: Final = "identity"
_SLOTS: Final = "slots"


@dataclass(frozen=True, slots=True, kw_only=True)
class MultivariateSettings:
    """What a person may want to change. Raises ValueError for what cannot be run."""

    step_s: float = 60.0
    """Seconds between two vectors of a row."""
    warmup_s: float = 28_800.0
    """A row is not judged before it has had vectors for so long."""
    sensitivity: float = 1.0
    """0.25 to 4: alarms are raised at 1 / sensitivity of the usual bar."""
    river: str | None = None
    """A River detector by name, such as anomaly.HalfSpaceTrees; None: the covariance of the signals."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Its parameters."""

    def __post_init__(self) -> None:
        if not 0.25 <= self.sensitivity <= 4.0:
            raise ValueError(f"sensitivity must be 0.25 to 4, not {self.sensitivity!r}")
        if self.step_s <= 0 or self.warmup_s < 0:
            raise ValueError(f"step_s {self.step_s!r} must be above 0, warmup_s {self.warmup_s!r} at least 0")
        if self.river is None and self.parameters:
            raise ValueError("parameters are those of a River detector; name it with `river`")
        if self.river is not None:
            # River takes seconds to import; only who names one of its models waits for it.
            from models.multivariate.river_choice import RiverChoice  # noqa: PLC0415

            RiverChoice(self.river, self.parameters).try_out()


class Multivariate:
    """`VectorLearner` of a fixed list of signals.

    Three steps, each judging before it learns: deviations become robust standard deviations (`Normaliser`), a
    scorer says how odd they are together, and what is usual for the row decides when that is an alarm
    (`Calibration`).
    """

    version: int = 1

    def __init__(self, signals: Sequence[str], settings: MultivariateSettings | None = None) -> None:
        """Raises ValueError where the settings' River detector cannot be run with these signals."""
        settings = settings or MultivariateSettings()
        unit = min(1.0, settings.step_s / _UNIT_S)
        self._signals = len(signals)
        self._scorer = _scorer(signals, settings, unit)
        self._normaliser = Normaliser(len(signals), unit)
        self._calibration = Calibration(unit, settings.warmup_s / _UNIT_S, settings.sensitivity)
        self._slots = 0

    @property
    def failures(self) -> Mapping[str, int]:
        """How often a River model raised and was made new, by the error's type."""
        return self._scorer.failures

    def grow(self, slots: int) -> None:
        """Make room for slots below `slots`."""
        self._slots = max(self._slots, slots)
        for part in self._parts().values():
            part.grow(slots)

    def evict(self, slots: Int32s) -> None:
        """Forget these rows."""
        for part in self._parts().values():
            part.evict(slots)

    def compact(self, keep: Int32s) -> None:
        """Row `keep[i]` becomes row i."""
        for part in self._parts().values():
            part.compact(keep)
        self._slots = len(keep)

    def score_learn(self, slots: Int32s, values: Float64s, least: Float64s) -> VectorVerdicts:
        """Judge each vector with what was known before it, then learn it.

        slots int32[n], values float64[n, k], least float64[n, k]. Raises IndexError for a slot never grown.
        """
        vectors = self._normaliser.score_learn(slots, values, least)
        score, alarm = np.zeros(len(slots), np.float32), np.zeros(len(slots), np.bool_)
        contributions = np.zeros(values.shape)
        # A scorer explains with what it knows: rows that come again in a call are judged in a call of their own.
        for begin, end in _without_repeats(slots):
            part = slots[begin:end]
            raw = self._scorer.score_learn(part, vectors[begin:end])
            score[begin:end], alarm[begin:end] = self._calibration.judge(part, raw)
            odd = np.flatnonzero(alarm[begin:end])
            if len(odd):
                contributions[begin + odd] = _shares(self._scorer.explain(part[odd], vectors[begin + odd]))
        return VectorVerdicts(score, alarm, contributions)

    def _parts(self) -> dict[str, Any]:
        return {"normaliser": self._normaliser, "scorer": self._scorer, "calibration": self._calibration}

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state, with the scorer's identity as uint8[bytes]."""
        state: dict[str, npt.NDArray[np.generic]] = {
            "version": np.array([self.version], np.int64),
            _SLOTS: np.array([self._slots], np.int64),
            _IDENTITY: np.frombuffer(self._scorer.identity.encode(), np.uint8).copy(),
        }
        for name, part in self._parts().items():
            state.update({f"{name}.{key}": value for key, value in part.snapshot().items()})
        return state

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit, another scorer's included."""
        if "version" not in state:
            raise ValueError(f"snapshot has no version, this learner has version {self.version}")
        version = int(np.asarray(state["version"]).ravel()[0])
        if version != self.version:
            raise ValueError(f"snapshot has version {version}, this learner has version {self.version}")
        if not self.is_of(state):
            raise ValueError(f"snapshot is not of {self._scorer.identity}")
        parts = self._parts()
        for name in state.keys() - {"version", _SLOTS, _IDENTITY}:
            if name.partition(".")[0] not in parts:
                raise ValueError(f"snapshot has a column {name}, which this learner does not have")
        for name, part in parts.items():
            prefix = f"{name}."
            part.restore({key.removeprefix(prefix): one for key, one in state.items() if key.startswith(prefix)})
        self._slots = int(np.asarray(state[_SLOTS]).ravel()[0])

    def is_of(self, state: Mapping[str, npt.NDArray[np.generic]]) -> bool:
        """Whether a snapshot is of the same scorer, with the same parameters, over the same signals."""
        return _IDENTITY in state and np.asarray(state[_IDENTITY]).tobytes() == self._scorer.identity.encode()


def _scorer(signals: Sequence[str], settings: MultivariateSettings, unit: float) -> VectorScorer:
    if settings.river is None:
        return Covariance(len(signals), unit)
    from models.multivariate.forest import HalfSpaceForest, is_forest  # noqa: PLC0415  as above
    from models.multivariate.river_choice import RiverChoice  # noqa: PLC0415
    from models.multivariate.river_scorer import RiverScorer  # noqa: PLC0415

    choice = RiverChoice(settings.river, settings.parameters)
    return HalfSpaceForest(choice, signals) if is_forest(choice) else RiverScorer(choice, signals)


def _without_repeats(slots: Int32s) -> list[tuple[int, int]]:
    """Cut a call so that no row comes twice in a part."""
    if (slots[1:] > slots[:-1]).all() or len(np.unique(slots)) == len(slots):
        return [(0, len(slots))]
    cuts: list[int] = [0]
    seen: set[int] = set()
    for at, slot in enumerate(slots.tolist()):
        if slot in seen:
            cuts.append(at)
            seen = set()
        seen.add(slot)
    return list(zip(cuts, [*cuts[1:], len(slots)], strict=True))


def _shares(parts: Float64s) -> Float64s:
    """Parts of each row as shares of their sum; all zero where there are none."""
    sums = parts.sum(axis=1, keepdims=True)
    result: Float64s = np.divide(parts, sums, out=np.zeros_like(parts), where=sums > 0)
    return result
