from __future__ import annotations

import sklearn.ensemble  # noqa: F401  brings the libraries that are asked
from threadpoolctl import threadpool_info

from models.offline.threads import one_thread


def counts() -> list[int]:
    """Threads of each library below numpy and scikit-learn."""
    return [one["num_threads"] for one in threadpool_info()]


def test_one_thread_within_and_as_many_as_before_after() -> None:
    """Also where one block lies in another: the inner one does not give the threads back."""
    before = counts()
    with one_thread():
        assert set(counts()) == {1}
        with one_thread():
            pass
        assert set(counts()) == {1}
    assert counts() == before
