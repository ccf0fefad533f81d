"""What a running worker says of itself on its metrics page."""

from __future__ import annotations

import asyncio
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

_PATIENCE_S = 5.0
_FATES = frozenset(f"duri_{fate}_samples_total" for fate in ("detect", "late", "not_finite", "stale", "unmodelled"))
"""What becomes of a sample, one of these; `detect` are those that were taken."""


class WorkerPage:
    """The page of one worker, once its address is known; numbers are those of the last `read`."""

    def __init__(self) -> None:
        self.samples = 0
        """Samples that detect has taken in and committed, whatever became of them."""
        self.intervals = 0
        """Intervals of event time (frames) that advise is through with, and has committed."""
        self._address: str | None = None

    def open(self, address: str) -> None:
        """The worker is ready, and its pages are here (`http://host:port`)."""
        self._address = address

    async def read(self) -> None:
        """Fetch the page; nothing changes while the address is not known. Raises OSError where nobody answers."""
        if self._address is not None:
            self.samples, self.intervals = parse(await asyncio.to_thread(_fetch, f"{self._address}/metrics"))


def parse(text: str) -> tuple[int, int]:
    """Samples that detect, and intervals that advise has committed, from the page."""
    samples = intervals = 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            stage = sample.labels.get("stage")
            samples += sample.value if sample.name in _FATES and stage == "detect" else 0.0
            intervals += sample.value if sample.name == "duri_intervals_total" and stage == "advise" else 0.0
    return round(samples), round(intervals)


def _fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=_PATIENCE_S) as answer:  # noqa: S310  our own worker's address
        text: str = answer.read().decode()
    return text
