"""What producers send, and how it is written down which of it is the same."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Sent(NamedTuple):
    """A series that a producer sends."""

    name: str
    labels: dict[str, str]
    number: float
    """Its value, or where it is a counter its growth a second."""
    grows: bool = False


class Same(NamedTuple):
    """Signals or settings, the series that feed them by the names they know, and those of others."""

    feeds: tuple[str, ...]
    known: list[Sent]
    others: list[list[Sent]]


def gauge(name: str, value: float, labels: Mapping[str, str] | None = None) -> Sent:
    """A series that goes up and down."""
    return Sent(name, dict(labels or {}), value)


def counter(name: str, rate: float, labels: Mapping[str, str] | None = None) -> Sent:
    """A series that grows by so much a second."""
    return Sent(name, dict(labels or {}), rate, grows=True)


def gauges(feeds: str, known: str, value: float, *others: Sent) -> Same:
    """One gauge feeds it, in any of these spellings."""
    return Same((feeds,), [gauge(known, value)], [[one] for one in others])


def counters(feeds: str, known: str, rate: float, *others: str) -> Same:
    """One counter feeds it, under any of these names."""
    return Same((feeds,), [counter(known, rate)], [[counter(name, rate)] for name in others])


def histogram(name: str, bounds: tuple[float, ...], unit: float = 1.0) -> list[Sent]:
    """100 observations a second, of 20 seconds together; `unit` is a second in that of the bounds."""
    buckets = [
        counter(f"{name}_bucket", rate, {"le": f"{bound:g}".replace("inf", "+Inf")})
        for bound, rate in zip(bounds, (50.0, 90.0, 99.0, 100.0), strict=True)
    ]
    return [*buckets, counter(f"{name}_count", 100.0), counter(f"{name}_sum", 20.0 * unit)]


def by(label: str, name: str, rates: Mapping[str, float]) -> list[Sent]:
    """A counter for each value of a label."""
    return [counter(name, rate, {label: value}) for value, rate in rates.items()]


def by_state(label: str, name: str, values: Mapping[str, float], more: Mapping[str, str] | None = None) -> list[Sent]:
    """A gauge for each value of a label."""
    return [gauge(name, value, {label: state, **(more or {})}) for state, value in values.items()]


def with_rest(rest: Iterable[Sent], *others: Sent) -> list[list[Sent]]:
    """Each of the others, with what else the signal needs."""
    return [[*rest, one] for one in others]


SECONDS, MILLIS = (0.1, 0.5, 1.0, math.inf), (100.0, 500.0, 1000.0, math.inf)

CPUS = ("cpu0", "cpu-total")
