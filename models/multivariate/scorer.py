"""What judges normalised vectors: the contract that our scorers and River's models share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from models.contracts import Float64s, Int32s


class VectorScorer(Protocol):
    """Scores, then learns, vectors of standard deviations, for many rows; NaN in them is a missing signal."""

    identity: str
    """State of a scorer of another identity means something else."""
    failures: Counter[str]
    """How often a model raised, by the error's type; it was made new."""

    def grow(self, slots: int) -> None:
        """Make room for slots below `slots`."""
        ...

    def evict(self, slots: Int32s) -> None:
        """Make these rows as new."""
        ...

    def compact(self, keep: Int32s) -> None:
        """Row `keep[i]` becomes row i."""
        ...

    def score_learn(self, slots: Int32s, vectors: Float64s) -> Float64s:
        """How odd each vector is by what was known before it, float64[n], the more the higher; NaN while unknown.

        slots int32[n], vectors float64[n, k].
        """
        ...

    def explain(self, slots: Int32s, vectors: Float64s) -> Float64s:
        """By how much less odd each vector were if a signal were as usual: float64[n, k], 0 at least.

        Learns nothing.
        """
        ...

    def snapshot(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        ...

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit."""
        ...
