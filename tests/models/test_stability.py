"""Population stability of features."""

from __future__ import annotations

import numpy as np
import pytest

from models.offline.stability import BINS, MOVED, counted, indices, shares


def rows(n: int = 4000, shift: float = 0.0, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    """Two features: the first as told, the second as ever."""
    found = np.random.default_rng(seed).normal(size=(n, 2))
    found[:, 0] = found[:, 0] * scale + shift
    return found


def test_the_index_is_the_textbooks() -> None:
    """Two bins in use, from half and half to a fifth and four fifths: 0.3 ln(0.2/0.5) ... by hand 0.416."""
    then, now = np.zeros((1, BINS)), np.zeros((1, BINS), dtype=np.int64)
    then[0, :2], now[0, :2] = 0.5, (20, 80)
    assert indices(now, then)[0] == pytest.approx(-0.3 * np.log(0.4) + 0.3 * np.log(1.6), abs=1e-3)


@pytest.mark.parametrize(("changes", "moved"), [({}, False), ({"shift": 1.0}, True), ({"scale": 3.0}, True)])
def test_what_moves_is_told_from_what_does_not(changes: dict[str, float], moved: bool) -> None:
    """Another level or width is far beyond the bar; the same distribution, drawn anew, and the other feature below."""
    then = np.array(shares(counted(rows())))
    first, second = indices(counted(rows(seed=1, **changes)), then)
    assert (first >= MOVED) == moved
    assert second < 0.05


def test_what_is_not_known_is_not_counted() -> None:
    """A NaN leaves itself out; shares of nothing are 0 and no error."""
    found = rows(10)
    found[3, 1] = np.nan
    assert counted(found).sum(axis=1).tolist() == [10, 9]
    assert shares(counted(found[3:4]))[1] == (0.0,) * BINS
