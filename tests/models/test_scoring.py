"""Scoring with trained estimators."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest
from threadpoolctl import threadpool_info

from models.offline.scoring import abnormality


def state() -> tuple[list[object], list[int]]:
    """Of the process: its warning filters, and the threads of its numerical libraries."""
    return list(warnings.filters), [one["num_threads"] for one in threadpool_info()]


@pytest.mark.filterwarnings("error")
def test_partitions_in_threads_leave_the_process_as_it_was() -> None:
    """Many score at once: the numbers of one alone, no warning, and filters and threads as before."""
    rng = np.random.default_rng(0)
    forest = IsolationForest(n_estimators=20, random_state=0).fit(rng.normal(size=(256, 4)))
    rows = rng.normal(size=(50, 4))
    alone, before = abnormality(forest, rows), state()
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: abnormality(forest, rows), range(200)))
    assert all(np.array_equal(one, alone) for one in found)
    assert state() == before


@pytest.mark.parametrize("parameters", [{}, {"max_samples": 64}, {"max_features": 0.5}, {"n_estimators": 3}])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_a_forest_is_scored_as_it_scores_itself(parameters: dict[str, float], rows: int) -> None:
    """To the bit, for few and many rows; those that warm up stay NaN."""
    rng = np.random.default_rng(1)
    forest = IsolationForest(random_state=0, **parameters).fit(rng.standard_t(3, size=(700, 6)))
    features = rng.standard_t(3, size=(rows, 6))
    assert np.array_equal(abnormality(forest, features), -forest.score_samples(features))
    features[0, 2] = np.nan
    assert np.isnan(abnormality(forest, features)[0])
