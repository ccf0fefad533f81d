"""What an online learner is: the contract between `models` and whoever runs it.

A learner judges many series at once. Each series has a *slot*, a row number in the learner's columns;
who calls decides which series has which slot, grows the learner before a new slot is used and evicts
slots whose series is gone. Time is always an argument (milliseconds since the epoch), never a clock.

`models.checks` holds the properties that every learner must have.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    Int8s = npt.NDArray[np.int8]
    Int32s = npt.NDArray[np.int32]
    Int64s = npt.NDArray[np.int64]
    Float32s = npt.NDArray[np.float32]
    Float64s = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]


class Shape(IntEnum):
    """What an anomaly looks like, as far as it can be told at a sample."""

    NONE = 0
    """No alarm, or a learner that does not tell."""
    SPIKE = 1
    """Single samples far off."""
    SHIFT = 2
    """All samples off in one direction, from one sample to the next."""
    TREND = 3
    """All samples off in one direction, growing slowly."""
    FLATLINE = 4
    """The same value for longer than this series ever stood still."""
    SEASON = 5
    """As usual for the level, but not for this time of the day or week."""
    VARIANCE = 6
    """Larger swings than usual around what is expected."""
    NOVEL = 7
    """None of these, but nothing like it was seen before."""
    ABSENCE = 8
    """Bursts of activity that came regularly stay away."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a learner says of n samples; row i belongs to sample i.

    score     float32[n]  how abnormal, 0 (as ever) to 1 (certain); 0 while warming up
    alarm     bool[n]     the policy's decision: the series is in alarm at this sample
    expected  float64[n]  the value it expected; NaN while it has no expectation
    lower     float64[n]  lower end of the expected band; NaN likewise
    upper     float64[n]  upper end of the expected band; NaN likewise
    shape     int8[n]     a `Shape`: what the anomaly looks like; NONE where there is no alarm
    settled   bool[n]     true at the sample of an alarm at which its level became the new normal and was learned anew
    """

    score: Float32s
    alarm: Bools
    expected: Float64s
    lower: Float64s
    upper: Float64s
    shape: Int8s
    settled: Bools


@dataclass(frozen=True, slots=True)
class VectorVerdicts:
    """What a vector learner says of n vectors of k signals; row i belongs to vector i.

    score          float32[n]     how odd the signals are together, 0 to 1, 0.5 at the bar; 0 while warming up
    alarm          bool[n]        the policy's decision
    contributions  float64[n, k]  each signal's share of what is odd, together 1; 0 where there is no alarm
    """

    score: Float32s
    alarm: Bools
    contributions: Float64s


class VectorLearner(Protocol):
    """Judges, then learns, one vector of k signals at a time, for many rows; like `OnlineLearner` in all else.

    Vectors of a row come at one step of time. What is not finite in them counts as missing.
    """

    version: int

    def grow(self, slots: int) -> None:
        """Make room for slot numbers below `slots`."""
        ...

    def evict(self, slots: Int32s) -> None:
        """Forget these rows."""
        ...

    def compact(self, keep: Int32s) -> None:
        """Row `keep[i]` becomes row i."""
        ...

    def score_learn(self, slots: Int32s, values: Float64s, least: Float64s) -> VectorVerdicts:
        """Score each vector with what was known before it, then learn it.

        slots int32[n], values float64[n, k], least float64[n, k]: differences below it do not matter.
        """
        ...

    def snapshot(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Copy of the whole state, by column name."""
        ...

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become the learner that gave this snapshot. Raises ValueError where it does not fit."""
        ...


class OnlineLearner(Protocol):
    """Judges, then learns, one sample at a time, for many series; state is columnar.

    Samples of one call are taken in order. Samples of one series must be in ascending time, and finite;
    the caller has dropped the rest. Cutting a stream into other calls changes no bit of any answer.
    """

    version: int
    """Version of the state's layout; a snapshot of another version is refused or migrated."""

    def grow(self, slots: int) -> None:
        """Make room for slot numbers below `slots`; existing rows keep their state."""
        ...

    def evict(self, slots: Int32s) -> None:
        """Forget these series: their rows become as new."""
        ...

    def compact(self, keep: Int32s) -> None:
        """Move rows together: the series in slot `keep[i]` has slot i from now on; the others are forgotten.

        keep int32[n], distinct. Memory of what is gone is given back.
        """
        ...

    def score_learn(self, slots: Int32s, ts: Int64s, values: Float64s) -> Verdicts:
        """Score each sample with what was known before it, then learn it.

        slots int32[n], ts int64[n] in ms, values float64[n].
        """
        ...

    def snapshot(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Copy of the whole state, by column name; never aliases live arrays."""
        ...

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become the learner that gave this snapshot.

        Raises ValueError where the snapshot's version or columns do not fit.
        """
        ...
