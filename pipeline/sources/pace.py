"""How fast to publish so that whoever reads is always busy and never far behind.

Handing over everything that fits at once would make the stages work one after the other, each on one large batch.
A little above the speed at which samples come out at the end, they all work at the same time, on small ones.
"""

from __future__ import annotations

from dataclasses import dataclass

_HEADROOM = 1.3


@dataclass(slots=True)
class Pace:
    """Told how many samples went in (`published`) and came out (`processed`), says how long to wait, seconds.

    Times are seconds of any clock that does not go back.
    """

    ahead: int
    """So many samples may be on their way at most."""
    least: float
    """Samples a second to publish while nothing has come out yet, and at least later."""
    began: float | None = None
    """When the first samples had come out."""
    next_at: float = 0.0
    """When the next samples are due."""
    _published: int = 0

    def wait(self, published: int, processed: int, now: float) -> float | None:
        """Seconds to wait before publishing more; None: until more has come out."""
        if published - processed > self.ahead:
            return None
        if processed and self.began is None:
            self.began = now
        rate = self.least
        if self.began is not None and now > self.began:
            rate = max(rate, _HEADROOM * processed / (now - self.began))
        # Time lost while waiting for progress is not made up for by a burst.
        self.next_at = max(self.next_at, now) + (published - self._published) / rate
        self._published = published
        return self.next_at - now
