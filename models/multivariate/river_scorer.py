"""Any of River's anomaly detectors, one model a row; what they do wrong stays with the row."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from models.multivariate import plain
from models.multivariate.scale import USUAL, unit_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from models.contracts import Float64s, Int32s
    from models.multivariate.river_choice import RiverChoice

_GRACE: Final = 120
"""Vectors that a model learns before it is asked; where it has a window, at least so many."""
_VERSION: Final = 1


class RiverModel(msgspec.Struct):
    """One row's model: the signals it knows (names in order), vectors learned, and River's object."""

    signals: list[str]
    learned: int
    model: Any


class RiverScorer:
    """`VectorScorer` of River models.

    A model sees every signal that its row has ever had, on 0 to 1, the missing ones as usual. A further signal makes
    the model new: River's trees and projections are built for the signals of their first vector. So does an
    exception, or a score that is no number: it is counted in `failures` by its type, and the row goes on.
    """

    def __init__(self, choice: RiverChoice, signals: Sequence[str]) -> None:
        self.identity = f"river {choice.name} {dict(choice.parameters)!r} of {list(signals)}"
        self.failures: Counter[str] = Counter()
        self._choice = choice
        self._signals = list(signals)
        self._rows: list[RiverModel | None] = []

    def grow(self, slots: int) -> None:
        """Make room for slots below `slots`."""
        self._rows += [None] * (slots - len(self._rows))

    def evict(self, slots: Int32s) -> None:
        """Make these rows as new."""
        for slot in self._checked(slots):
            self._rows[slot] = None

    def compact(self, keep: Int32s) -> None:
        """Row `keep[i]` becomes row i."""
        self._rows = [self._rows[slot] for slot in self._checked(keep)]

    def _checked(self, slots: Int32s) -> list[int]:
        for slot in (numbers := slots.tolist()):
            if not 0 <= slot < len(self._rows):
                raise IndexError(f"slot {slot} is outside 0..{len(self._rows) - 1}; grow the learner first")
        return list(numbers)

    def score_learn(self, slots: Int32s, vectors: Float64s) -> Float64s:
        """The models' scores, float64[n]; NaN while a model is young, and where it failed."""
        scaled = unit_interval(vectors)
        scores = np.full(len(slots), np.nan)
        for i, slot in enumerate(self._checked(slots)):
            present = np.flatnonzero(~np.isnan(vectors[i])).tolist()
            if len(present) >= 2:
                scores[i] = self._step(slot, [self._signals[column] for column in present], scaled[i])
        return scores

    def _step(self, slot: int, present: list[str], scaled: Float64s) -> float:
        try:
            row = self._row(slot, present)
            features = self._features(row, scaled)
            score = _score(row.model, features) if row.learned >= _grace(row.model) else math.nan
            row.model.learn_one(features)
            row.learned += 1
        except Exception as error:  # noqa: BLE001  a model may raise anything; the partition goes on
            self.failures[type(error).__name__] += 1
            self._rows[slot] = None
            return math.nan
        return score

    def _row(self, slot: int, present: list[str]) -> RiverModel:
        """The row's model, a new one where it has none or there is a signal that it does not know."""
        row = self._rows[slot]
        if row is None or not set(present) <= set(row.signals):
            signals = sorted({*present, *(row.signals if row else ())})
            row = self._rows[slot] = RiverModel(signals, 0, self._choice.make())
        return row

    def _features(self, row: RiverModel, scaled: Float64s) -> dict[str, float]:
        values = dict(zip(self._signals, scaled.tolist(), strict=True))
        return {name: values[name] for name in row.signals}

    def explain(self, slots: Int32s, vectors: Float64s) -> Float64s:
        """By how much the score falls when a signal is put back to its usual value; float64[n, k]."""
        scaled = unit_interval(vectors)
        parts = np.zeros(vectors.shape)
        for i, slot in enumerate(self._checked(slots)):
            row = self._rows[slot]
            if row is not None:
                parts[i] = self._explained(slot, row, scaled[i])
        return parts

    def _explained(self, slot: int, row: RiverModel, scaled: Float64s) -> Float64s:
        parts = np.zeros(len(self._signals))
        features = self._features(row, scaled)
        try:
            whole = _score(row.model, features)
            for column, name in enumerate(self._signals):
                if features.get(name, USUAL) != USUAL:
                    parts[column] = max(0.0, whole - _score(row.model, {**features, name: USUAL}))
        except Exception as error:  # noqa: BLE001  as above
            self.failures[type(error).__name__] += 1
            self._rows[slot] = None
        return parts

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """All models as plain values: `models` uint8[bytes], `ends` int64[slots], `failures` uint8[bytes]."""
        saved = [b"" if row is None else _saved(row) for row in self._rows]
        return {
            "version": np.array([_VERSION], np.int64),
            "models": np.frombuffer(b"".join(saved), np.uint8).copy(),
            "ends": np.cumsum([len(one) for one in saved], dtype=np.int64),
            "failures": np.frombuffer(msgspec.msgpack.encode(sorted(self.failures.items())), np.uint8).copy(),
        }

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit."""
        missing = {"version", "models", "ends", "failures"} ^ set(state)
        if missing:
            raise ValueError(f"snapshot of River models has or lacks {sorted(missing)}")
        version = int(np.asarray(state["version"]).ravel()[0])
        if version != _VERSION:
            raise ValueError(f"snapshot has version {version}, this learner has version {_VERSION}")
        data, ends = np.asarray(state["models"]).tobytes(), np.asarray(state["ends"]).tolist()
        starts = [0, *ends][: len(ends)]
        rows = [_loaded(data[start:end]) if end > start else None for start, end in zip(starts, ends, strict=True)]
        failures = msgspec.msgpack.decode(np.asarray(state["failures"]).tobytes(), type=list[tuple[str, int]])
        self._rows, self.failures = rows, Counter(dict(failures))


def _grace(model: Any) -> int:
    window = getattr(model, "window_size", 0)
    return max(_GRACE, window if isinstance(window, int) else 0)


def _score(model: Any, features: dict[str, float]) -> float:
    score = float(model.score_one(features))
    if not math.isfinite(score):
        raise ValueError(f"score {score}")
    return score


def _saved(row: RiverModel) -> bytes:
    return msgspec.msgpack.encode((row.signals, row.learned, plain.encode(row.model)))


def _loaded(data: bytes) -> RiverModel:
    try:
        signals, learned, model = msgspec.msgpack.decode(data, type=tuple[list[str], int, bytes])
    except msgspec.DecodeError as error:
        raise ValueError(f"snapshot of a River model is damaged: {error}") from error
    return RiverModel(signals, learned, plain.decode(model))
