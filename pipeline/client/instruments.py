"""Counters, gauges and histograms: plain calls that take microseconds and never raise.

What cannot be counted (no finite number, a negative increment, a series too many) is left out and counted in the
publisher's statistics.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING

from pipeline.client.registry import SeriesKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.client.registry import Labels, Registry

GUIDE_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds of the DuRi guide's `http_request_duration_seconds`."""


class _Instrument:
    """One metric: finds the place of a set of labels in the registry."""

    kind = "gauge"

    def __init__(self, registry: Registry, name: str) -> None:
        self.name = name
        self._registry = registry
        self._shape: object = (self.kind, name)

    def _place(self, labels: Mapping[str, object]) -> int | None:
        """Place of the series of these labels; None where they are refused. Under the registry's lock."""
        given = tuple(sorted((label, str(value)) for label, value in labels.items()))
        return self._registry.place(self._shape, given, self._series)

    def _series(self, labels: Labels) -> Sequence[SeriesKey]:
        return (SeriesKey(self.name, labels, self.kind),)

    def _add(self, amount: float, labels: Mapping[str, object], least: float) -> None:
        with self._registry.lock:
            if not _is_finite(amount) or amount < least:
                self._registry.invalid += 1
            elif (place := self._place(labels)) is not None:
                self._registry.values[place] += amount


class Counter(_Instrument):
    """A total that only grows."""

    kind = "counter"

    def inc(self, amount: float = 1, /, **labels: object) -> None:
        """Count so many more."""
        self._add(amount, labels, 0)


class Gauge(_Instrument):
    """A level."""

    def set(self, value: float, /, **labels: object) -> None:
        """The level is this now."""
        with self._registry.lock:
            if not _is_finite(value):
                self._registry.invalid += 1
            elif (place := self._place(labels)) is not None:
                self._registry.values[place] = float(value)

    def inc(self, amount: float = 1, /, **labels: object) -> None:
        """The level rises (or falls) by so much."""
        self._add(amount, labels, -math.inf)

    def dec(self, amount: float = 1, /, **labels: object) -> None:
        """The level falls by so much."""
        self._add(-amount if _is_finite(amount) else math.nan, labels, -math.inf)


class Histogram(_Instrument):
    """How values are distributed: cumulative buckets, sum and count, as Prometheus has them."""

    kind = "histogram"

    def __init__(self, registry: Registry, name: str, buckets: Sequence[float]) -> None:
        super().__init__(registry, name)
        self._bounds = sorted({float(bound) for bound in buckets if math.isfinite(bound)})
        self._shape = (self.kind, name, *self._bounds)

    def observe(self, value: float, /, **labels: object) -> None:
        """One more value."""
        registry = self._registry
        with registry.lock:
            if not _is_finite(value):
                registry.invalid += 1
                return
            first = self._place(labels)
            if first is None:
                return
            infinite = first + len(self._bounds)
            for place in range(first + bisect_left(self._bounds, value), infinite + 1):
                registry.values[place] += 1
            registry.values[infinite + 1] += value
            registry.values[infinite + 2] += 1

    def _series(self, labels: Labels) -> Sequence[SeriesKey]:
        # As short as can be and still exact: two bounds never share a label.
        bounds = [*(repr(bound).removesuffix(".0") for bound in self._bounds), "+Inf"]
        buckets = [
            SeriesKey(f"{self.name}_bucket", tuple(sorted((*labels, ("le", bound)))), "bucket") for bound in bounds
        ]
        totals = [SeriesKey(f"{self.name}_{part}", labels, "counter") for part in ("sum", "count")]
        return [*buckets, *totals]


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
