"""The current values of a service's series, and their places in the messages."""

from __future__ import annotations

import threading
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Labels = tuple[tuple[str, str], ...]

SERVICE = "service"

_MOST_LABELS = 64
_LONGEST = 4000


class SeriesKey(NamedTuple):
    """What a series is called; `kind` is gauge, counter or bucket."""

    name: str
    labels: Labels
    kind: str

    @property
    def service(self) -> str:
        """The service that it belongs to."""
        return next((value for label, value in self.labels if label == SERVICE), "")

    @property
    def is_acceptable(self) -> bool:
        """Whether ingest takes it with its default limits; one that it does not would cost the whole message."""
        size = len(self.name) + sum(len(label) + len(value) for label, value in self.labels)
        return bool(self.name) and len(self.labels) <= _MOST_LABELS and size <= _LONGEST


def labels_of(constant: Mapping[str, str], given: Mapping[str, object]) -> Labels:
    """Sorted labels, the given ones over the constant ones, as texts."""
    return tuple(sorted({**constant, **{name: str(value) for name, value in given.items()}}.items()))


class Registry:
    """Series and their values, safe to use from any thread; it takes so many series and counts what it refuses.

    Everything but `snapshot` is to be called with `lock` held.
    """

    def __init__(self, constant: Mapping[str, str], max_series: int) -> None:
        self.constant = {label: str(value) for label, value in constant.items()}
        self.lock = threading.Lock()
        self.values: list[float] = []
        """The value of each series."""
        self.invalid = 0
        """Values that were no finite numbers, or that a counter cannot take."""
        self.refused = 0
        """Values of series beyond the limit, or with too many or too long labels."""
        self._series: list[SeriesKey] = []
        self._places: dict[tuple[object, Labels], int] = {}
        self._max_series = max_series

    def place(self, shape: object, given: Labels, make: Callable[[Labels], Sequence[SeriesKey]]) -> int | None:
        """Place of the first series that `make` gives for these labels, found again by shape and labels.

        None, and counted, where they are refused.
        """
        key = (shape, given)
        place = self._places.get(key)
        if place is not None:
            return place
        series = make(labels_of(self.constant, dict(given)))
        if len(self._series) + len(series) > self._max_series or not all(one.is_acceptable for one in series):
            self.refused += 1
            return None
        place = self._places[key] = len(self._series)
        self._series.extend(series)
        self.values.extend([0.0] * len(series))
        return place

    def snapshot(self) -> tuple[list[SeriesKey], list[float]]:
        """All series and their values now."""
        with self.lock:
            return list(self._series), list(self.values)


def by_service(series: Sequence[SeriesKey], most: int) -> Iterator[tuple[str, list[int]]]:
    """(service, places of its series), in groups of at most so many."""
    found: dict[str, list[int]] = {}
    for place, one in enumerate(series):
        found.setdefault(one.service, []).append(place)
    for service, places in found.items():
        remaining = iter(places)
        while group := list(islice(remaining, most)):
            yield service, group
