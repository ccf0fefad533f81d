"""River's anomaly detectors by name: found, checked against their signature, and tried before anything runs."""

from __future__ import annotations

import difflib
import importlib
import inspect
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from river import anomaly, base

from models.multivariate import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

_SEED: Final = 7
_TRIAL: Final = 64
_LONGEST_TRIAL: Final = 1000


@dataclass(frozen=True, slots=True)
class RiverChoice:
    """A detector and its parameters. Raises ValueError, with the nearest names, for what cannot be run."""

    name: str
    """Module and class below `river`: anomaly.HalfSpaceTrees."""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = find_detector(self.name)
        self._check_parameters(found)

    def make(self) -> Any:
        """A new model. The same seed everywhere: a replay must give the same scores."""
        found = find_detector(self.name)
        parameters = dict(self.parameters)
        if "seed" in _signature(found) and parameters.get("seed") is None:
            parameters["seed"] = _SEED
        return found(**parameters)

    def _check_parameters(self, found: type) -> None:
        known = _signature(found)
        for name in self.parameters:
            if name not in known:
                raise ValueError(
                    f"{self.name} has no parameter {name!r}{_nearest(name, known)}; it has {', '.join(known)}"
                )
        missing = [
            name
            for name, one in known.items()
            if one.default is inspect.Parameter.empty and name not in self.parameters
        ]
        if missing:
            raise ValueError(f"{self.name} needs the parameters {', '.join(missing)}")

    def try_out(self) -> None:
        """Learn and judge some vectors, save and restore in between. Raises ValueError where that fails or differs."""
        rng = random.Random(_SEED)  # noqa: S311  trial vectors
        try:
            model = self.make()
            # Some models say nothing before their first window is over.
            window = int(getattr(model, "window_size", None) or 0)
            length = min(window, _LONGEST_TRIAL) + _TRIAL
            vectors = [{name: rng.random() for name in ("a", "b", "c")} for _ in range(length + _TRIAL)]
            _run(model, vectors[:length])
            again = plain.decode(plain.encode(model))
            same = _run(model, vectors[length:]) == _run(again, vectors[length:])
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise ValueError(
                f"{self.name} with the parameters {dict(self.parameters)} does not work: {said}"
            ) from error
        if not same:
            raise ValueError(f"{self.name} judges otherwise after its state was saved and restored; choose another one")


def _run(model: Any, vectors: list[dict[str, float]]) -> list[float]:
    scores = []
    for vector in vectors:
        scores.append(float(model.score_one(vector)))
        model.learn_one(vector)
    return scores


def find_detector(name: str) -> type:
    """The class that `name` stands for, such as anomaly.HalfSpaceTrees. Raises ValueError with the nearest names."""
    module, _, kind = name.rpartition(".")
    found = getattr(_module(module), kind, None) if module else None
    wrong = _why_not(found)
    if wrong:
        known = _detectors()
        raise ValueError(f"{name}: {wrong}{_nearest(name, known)}; River's anomaly detectors: {', '.join(known)}")
    return cast("type", found)


def _why_not(found: object) -> str:
    """Why this cannot be run here; empty where it can."""
    if not isinstance(found, type):
        return "River has no such class"
    if issubclass(found, base.SupervisedAnomalyDetector):
        return "it judges a target by features, and there is no target here"
    if issubclass(found, base.AnomalyFilter):
        return "it puts a threshold on another detector, which is done here anyway; name that detector"
    return "" if issubclass(found, base.AnomalyDetector) else "it is no anomaly detector"


def _module(name: str) -> Any:
    try:
        return importlib.import_module(f"river.{name}")
    except ImportError:
        return None


def _detectors() -> list[str]:
    kinds = [getattr(anomaly, kind) for kind in anomaly.__all__]
    return [f"anomaly.{kind.__name__}" for kind in kinds if issubclass(kind, base.AnomalyDetector)]


def _signature(found: type) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(found.__init__).parameters.values()  # type: ignore[misc]
    return {one.name: one for one in parameters if one.name != "self"}


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""
