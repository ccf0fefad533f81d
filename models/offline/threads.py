"""How many threads the libraries below an estimator use: one.

OpenMP's threads wait for each other in a loop. A step of boosting or of a matrix product takes a fraction of a
millisecond here, and on a machine that does something else as well nearly all of the processors' time goes into that
loop: three to four times as much as one thread needs in all, on two processors with as much other work as they can do.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it, what this thread asks of OpenMP and of the linear algebra is done by one thread."""
    with _controller().limit(limits=1):
        yield


@cache
def _controller() -> ThreadpoolController:
    """Of the libraries that are loaded by now: to find them takes milliseconds."""
    return ThreadpoolController()
