"""Scores of PySAD's streaming models and of `rrcf`, from an environment of their own.

python python_peers.py MODEL IN.npz OUT.npz

IN holds one float64[n] array a series; OUT the scores of each under the same name, the CPU `seconds` they took and the
most bytes of `pickle` of a model at its end (`state`). Run by `benchmarks.detectors` with the Python of the folder that
`--peers` names; needs nothing of this project.

Every model is given each series alone, in order. PySAD's score a sample before they learn it; `rrcf` needs it in the
trees, and it is scored with what came before. Values are scaled by the
range so far where a model asks for values from 0 to 1. Models of vectors get the last eight values.
"""

from __future__ import annotations

import pickle
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Array = np.ndarray
SHINGLE = 8
SEED = 42


def scaled(values: Array) -> Array:
    """Each value by the range so far, 0 to 1."""
    low, high = np.minimum.accumulate(values), np.maximum.accumulate(values)
    return (values - low) / np.where(high > low, high - low, 1.0)


def shingled(values: Array) -> Iterator[Array]:
    """The last eight values; the first one repeated at the start."""
    padded = np.concatenate([np.full(SHINGLE - 1, values[0]), values])
    return iter(np.lib.stride_tricks.sliding_window_view(padded, SHINGLE))


def single(values: Array) -> Iterator[Array]:
    """Each value as a vector of one."""
    return iter(values.reshape(-1, 1))


def run(model: Any, rows: Iterator[Array], count: int) -> Array:
    """Scores of PySAD's model, one row after the other."""
    scores = np.zeros(count)
    for i, row in enumerate(rows):
        scores[i] = np.ravel(model.score_partial(row))[0] if i else 0.0
        model.fit_partial(row)
    return np.nan_to_num(scores, nan=0.0, posinf=0.0, neginf=0.0)


def knn_cad(values: Array) -> tuple[Any, Array]:
    """Conformalised k-NN; NAB's own entry."""
    from pysad.models import KNNCAD  # noqa: PLC0415

    model = KNNCAD(max(48, int(min(0.15 * len(values), 750))))
    return model, run(model, single(values), len(values))


def relative_entropy(values: Array) -> tuple[Any, Array]:
    """Relative entropy of histograms; told the range of the whole series, as NAB tells it."""
    from pysad.models import RelativeEntropy  # noqa: PLC0415

    model = RelativeEntropy(float(values.min()), float(values.max()))
    return model, run(model, single(values), len(values))


def median_deviation(values: Array) -> tuple[Any, Array]:
    """Distance from the median of the last 500 in median absolute deviations."""
    from pysad.models import MedianAbsoluteDeviation  # noqa: PLC0415

    model = MedianAbsoluteDeviation()
    return model, run(model, single(values), len(values))


def rs_hash(values: Array) -> tuple[Any, Array]:
    """Subspace hashing of shingles."""
    from pysad.models import RSHash  # noqa: PLC0415

    model = RSHash(np.zeros(SHINGLE), np.ones(SHINGLE))
    return model, run(model, shingled(scaled(values)), len(values))


def loda(values: Array) -> tuple[Any, Array]:
    """Random one-dimensional histograms of shingles."""
    from pysad.models import LODA  # noqa: PLC0415

    model = LODA(random_state=SEED)
    return model, run(model, shingled(scaled(values)), len(values))


def xstream(values: Array) -> tuple[Any, Array]:
    """Half-space chains of random projections of shingles."""
    from pysad.models import xStream  # noqa: PLC0415

    model = xStream(num_components=20, n_chains=20, depth=10, random_state=SEED)
    return model, run(model, shingled(scaled(values)), len(values))


def kitnet(values: Array) -> tuple[Any, Array]:
    """Ensemble of autoencoders of shingles."""
    from pysad.models import KitNet  # noqa: PLC0415

    model = KitNet()
    return model, run(model, shingled(scaled(values)), len(values))


def rrcf(values: Array) -> tuple[Any, Array]:
    """Robust random cut forest: 10 trees of 256 shingles, collusive displacement before the oldest leaves."""
    import rrcf as library  # noqa: PLC0415

    trees, size = 10, 256
    rng = np.random.default_rng(SEED)
    forest = [library.RCTree(random_state=int(rng.integers(1 << 30))) for _ in range(trees)]
    scores = np.zeros(len(values))
    for i, row in enumerate(shingled(scaled(values))):
        total = 0.0
        for tree in forest:
            if len(tree.leaves) >= size:
                tree.forget_point(i - size)
            tree.insert_point(row, index=i)
            total += tree.codisp(i)
        scores[i] = total / trees
    return forest, scores


MODELS: dict[str, Callable[[Array], tuple[Any, Array]]] = {
    "knn_cad": knn_cad,
    "relative_entropy": relative_entropy,
    "median_deviation": median_deviation,
    "rs_hash": rs_hash,
    "loda": loda,
    "xstream": xstream,
    "kitnet": kitnet,
    "rrcf": rrcf,
}


def size(model: Any) -> int:
    """Bytes of the state of a model."""
    sys.setrecursionlimit(100_000)
    return len(pickle.dumps(model))


def main() -> None:
    """Score every series of the file."""
    name, source, target = sys.argv[1:]
    series = dict(np.load(source))
    begin, scores, state = time.process_time(), {}, 0
    for key, values in series.items():
        model, scores[key] = MODELS[name](values)
        state = max(state, size(model))
    np.savez(target, seconds=time.process_time() - begin, state=state, **scores)


if __name__ == "__main__":
    main()
