"""Waiting longer and longer, never all at the same time."""

from __future__ import annotations

import random


class Backoff:
    """Seconds to wait after each failure: doubling up to a limit, with full jitter in the upper half."""

    def __init__(self, first_s: float = 1.0, longest_s: float = 60.0, seed: int | None = None) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s
        self._random = random.Random(seed)  # noqa: S311  jitter, no secret

    def fail(self) -> float:
        """Seconds to wait now."""
        wait_s = self._next_s * self._random.uniform(0.5, 1.0)
        self._next_s = min(2 * self._next_s, self._longest_s)
        return wait_s

    def succeed(self) -> None:
        """The next failure is a first one again."""
        self._next_s = self._first_s
