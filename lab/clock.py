"""The lab's time: it runs faster than the wall's, so that a verification of minutes takes less than one."""

from __future__ import annotations

import time

SCRAPE_S = 5.0
"""A scrape's distance in the lab's time."""

_PAST_S = 86_400.0


class Clock:
    """Time that runs `speed` times as fast as the wall's; faster, it began a day ago, so as not to overtake it."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._began = time.time()
        self._past_s = _PAST_S if speed > 1.0 else 0.0

    def now_ms(self) -> int:
        """Now, in ms."""
        return self.ms(time.time())

    def ms(self, wall_s: float) -> int:
        """The time (ms) at that moment of `time.time()`."""
        return round((self._began - self._past_s + (wall_s - self._began) * self.speed) * 1000)
