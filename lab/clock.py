"""The lab's time: it runs faster than the wall's, so that a verification of minutes takes less than one."""

from __future__ import annotations

import time

SCRAPE_S = 5.0
"""A scrape's distance in the lab's time."""

_PAST_S = 86_400.0


class Clock:
    """Time that runs `speed` times as fast and began a day ago, so that it never overtakes the wall's."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._began = time.time()

    def now_ms(self) -> int:
        """Now, in ms."""
        return round((self._began - _PAST_S + (time.time() - self._began) * self.speed) * 1000)
