"""River's HalfSpaceTrees for many rows in columns: the same scores, bit for bit, from a hundredth of the memory.

Half-space trees (Tan, Ting and Liu 2011) are drawn without looking at data, so all rows with as many signals share one
forest, built by River itself; a row keeps only how many vectors of its last two windows fell into each node.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numba
import numpy as np

from models.columns import Columnar, Columns
from models.multivariate.scale import USUAL, unit_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from models.contracts import Float64s, Int32s
    from models.multivariate.river_choice import RiverChoice

NAME: Final = "anomaly.HalfSpaceTrees"
_OURS: Final = {"n_trees", "height", "window_size", "seed"}
_MOST_BYTES: Final = 1 << 20
_LIMIT: Final = 0.1  # of the window: smaller nodes are not gone into; River's and the paper's constant


def is_forest(choice: RiverChoice) -> bool:
    """Whether a choice can be run in columns."""
    return choice.name == NAME and set(choice.parameters) <= _OURS


class HalfSpaceForest(Columnar):
    """`VectorScorer` of half-space trees.

    Columns, by row: `now` and `then` uint8, uint16 or uint32[trees, 2^(height + 1) - 1]: vectors in each node in this
    window and in the last; `has` bool[k]: signals that take part; `count` int32 vectors in this window; `full` int32
    windows seen.
    """

    version = 1

    def __init__(self, choice: RiverChoice, signals: Sequence[str]) -> None:
        """Raises ValueError for trees too large to keep for every row."""
        first = choice.make()
        self.failures: Counter[str] = Counter()
        self._window = int(first.window_size)
        nodes = 2 ** (int(first.height) + 1) - 1
        mass = np.min_scalar_type(self._window)
        size = 2 * int(first.n_trees) * nodes * mass.itemsize
        if size > _MOST_BYTES:
            raise ValueError(f"{NAME}: {size / 1e6:.1f} MB a service; choose fewer trees, or lower ones")
        # River splits on its signals in the order of their names.
        self._order = np.argsort(np.array(signals), kind="stable").astype(np.int32)
        self._features, self._thresholds = _forests(choice, len(signals))
        drawn = hashlib.sha256(self._thresholds.tobytes()).hexdigest()[:16]
        self.identity = f"half-space forest {self.version} {drawn} of {list(signals)} in {self._window}"
        self._columns = Columns(
            self.version,
            {
                "now": (mass, (int(first.n_trees), nodes)),
                "then": (mass, (int(first.n_trees), nodes)),
                "has": ("?", (len(signals),)),
                "count": ("i4", ()),
                "full": ("i4", ()),
            },
        )

    def score_learn(self, slots: Int32s, vectors: Float64s) -> Float64s:
        """River's score of each vector, then learn it; float64[n], NaN in the first window."""
        columns = self._columns
        columns.check(slots)
        scores = np.full(len(slots), np.nan)
        state = (columns["now"], columns["then"], columns["has"], columns["count"], columns["full"])
        forest = (self._features, self._thresholds, self._order)
        _score_learn(state, forest, slots, ~np.isnan(vectors), unit_interval(vectors), self._window, scores)
        return scores

    def explain(self, slots: Int32s, vectors: Float64s) -> Float64s:
        """By how much the score falls when a signal is put back to its usual value; float64[n, k]."""
        columns = self._columns
        columns.check(slots)
        parts = np.zeros(vectors.shape)
        forest = (self._features, self._thresholds, self._order)
        _explain(columns["then"], columns["has"], forest, slots, unit_interval(vectors), self._window, parts)
        return parts


def _forests(choice: RiverChoice, most: int) -> tuple[npt.NDArray[np.int16], Float64s]:
    """Forests for 0, 1, … `most` signals: feature and threshold of each branch, [signals, trees, branches].

    Branch b has the children 2 b + 1 and 2 b + 2.
    """
    first = choice.make()
    shape = (most + 1, first.n_trees, 2**first.height - 1)
    features, thresholds = np.zeros(shape, np.int16), np.zeros(shape)
    for signals in range(1, most + 1):
        model = choice.make()
        # River draws its trees at the first vector; numbers sort as their signals' names do.
        model.learn_one(dict.fromkeys(range(signals), USUAL))
        for tree, root in enumerate(model.trees):
            _flatten(root, features[signals, tree], thresholds[signals, tree])
    return features, thresholds


def _flatten(root: Any, features: npt.NDArray[np.int16], thresholds: Float64s) -> None:
    level, at = [root], 0
    while at < len(features):
        for branch in level:
            features[at], thresholds[at] = branch.feature, branch.threshold
            at += 1
        level = [child for branch in level for child in branch.children]


@numba.njit(cache=True, nogil=True)
def _members(has: Any, order: Int32s) -> Int32s:
    """Columns of a row's signals, in the order in which River numbers them."""
    members = np.empty(len(order), np.int32)
    count = 0
    for column in order:
        if has[column]:
            members[count] = column
            count += 1
    return members[:count]


@numba.njit(cache=True, nogil=True)
def _score(then: Any, features: Any, thresholds: Any, values: Float64s, window: int) -> float:
    """One minus the mass that River's walk collects, as a part of the most it could."""
    trees, nodes = then.shape
    total = 0.0
    for tree in range(trees):
        node, power = 0, 1.0
        while True:
            total += then[tree, node] * power
            if node >= features.shape[1] or then[tree, node] < _LIMIT * window:
                break
            node = 2 * node + (1 if values[features[tree, node]] < thresholds[tree, node] else 2)
            power *= 2.0
    return float(1.0 - total / (trees * window * nodes))


@numba.njit(cache=True, nogil=True)
def _learn(now: Any, features: Any, thresholds: Any, values: Float64s) -> None:
    for tree in range(now.shape[0]):
        node = 0
        while True:
            now[tree, node] += 1
            if node >= features.shape[1]:
                break
            node = 2 * node + (1 if values[features[tree, node]] < thresholds[tree, node] else 2)


@numba.njit(cache=True, nogil=True)
def _score_learn(
    state: Any, forest: Any, slots: Int32s, there: Any, scaled: Float64s, window: int, scores: Float64s
) -> None:
    now, then, has, count, full = state
    features, thresholds, order = forest
    for i, slot in enumerate(slots):
        if there[i].sum() < 2:
            continue
        if (there[i] & ~has[slot]).any():
            # Trees are drawn for so many signals: with a further one the row starts anew.
            has[slot] |= there[i]
            now[slot], then[slot], count[slot], full[slot] = 0, 0, 0, 0
        members = _members(has[slot], order)
        size = len(members)
        values = scaled[i][members]
        if full[slot] > 0:
            scores[i] = _score(then[slot], features[size], thresholds[size], values, window)
        _learn(now[slot], features[size], thresholds[size], values)
        count[slot] += 1
        if count[slot] == window:
            then[slot], now[slot] = now[slot], 0
            count[slot], full[slot] = 0, min(full[slot] + 1, 1 << 30)


@numba.njit(cache=True, nogil=True)
def _explain(then: Any, has: Any, forest: Any, slots: Int32s, scaled: Float64s, window: int, parts: Float64s) -> None:
    features, thresholds, order = forest
    for i, slot in enumerate(slots):
        members = _members(has[slot], order)
        size = len(members)
        values = scaled[i][members]
        whole = _score(then[slot], features[size], thresholds[size], values, window)
        for at, column in enumerate(members):
            kept = values[at]
            values[at] = USUAL
            parts[i, column] = max(0.0, whole - _score(then[slot], features[size], thresholds[size], values, window))
            values[at] = kept
