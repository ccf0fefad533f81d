"""What a training sees of a dataset: some services at a time, so that no dataset is too large.

A block holds these services' features over all the time, as they were and once more with anomalies put in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from models.offline.features import of_cube
from models.offline.injected import inject
from models.online.bank import Bank, BankSettings
from pipeline.errors import FileError
from pipeline.offline.dataset.reading import Selection
from pipeline.offline.dataset.tables import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from pipeline.offline.dataset.labels import LabelledWindow
    from pipeline.offline.dataset.reading import Cube, Dataset
    from pipeline.offline.dataset.times import Span

    Bools = npt.NDArray[np.bool_]

_SERVICES: Final = 16
"""Services in memory at once: 16 with 40 signals and 30 days of minutes are half a gigabyte of features."""


class Learners(NamedTuple):
    """The online learners as they run live: their settings, and by signal the smallest deviation that matters.

    floors: signal to (in its unit, as a share of the expectation); the larger counts.
    """

    settings: BankSettings = BankSettings()
    floors: Mapping[str, tuple[float, float]] = {}


@dataclass(frozen=True, slots=True)
class Block:
    """t frames of s services; start int64[t] in ms.

    clean, dirty   float64[t, s, features]  as they were; with anomalies put in
    injected       bool[t, s]               where these are
    trouble        bool[t, s]               labelled as mattering to people
    abnormal       bool[t, s]               labelled so, or within a maintenance window: not to learn from
    bank, bank_dirty  bool[t, s]            any signal in alarm by the online learners; None where not asked for
    """

    services: Sequence[str]
    start: npt.NDArray[np.int64]
    clean: npt.NDArray[np.float64]
    dirty: npt.NDArray[np.float64]
    injected: Bools
    trouble: Bools
    abnormal: Bools
    bank: Bools | None = None
    bank_dirty: Bools | None = None

    def within(self, span: Span) -> slice:
        """Frames that start within the span."""
        first, after = np.searchsorted(self.start, (span.start, span.end))
        return slice(int(first), int(after))


class Blocks:
    """All blocks of a dataset, as often as they are wanted: the same each time. Raises FileError without frames."""

    def __init__(self, dataset: Dataset, signals: Sequence[str], injected: int, seed: int) -> None:
        self._dataset = dataset
        self.signals = tuple(signals or dataset.signals())
        self.services = dataset.services()
        if not self.services or not self.signals:
            raise FileError(
                f"{dataset.folder}: has no frames to train on; export a range in which `duri run` wrote some"
            )
        self._injected = injected
        self._seed = seed
        self._windows = dataset.windows()
        self._maintenance = _maintenance(dataset)

    def __iter__(self) -> Iterator[Block]:
        return self.read()

    def read(self, learners: Learners | None = None) -> Iterator[Block]:
        """Block by block; with learners, also what they say."""
        for at in range(0, len(self.services), _SERVICES):
            services = self.services[at : at + _SERVICES]
            cube = self._dataset.cube(services, self.signals)
            rng = np.random.default_rng([self._seed, at])
            changed = inject(cube.value, self._injected, rng)
            trouble = _marked(cube, [window for window in self._windows if window.matters])
            yield Block(
                services=services,
                start=cube.start,
                clean=of_cube(cube.value),
                dirty=of_cube(changed.values),
                injected=changed.labels,
                trouble=trouble,
                abnormal=trouble | _silenced(cube, self._maintenance),
                bank=None if learners is None else _bank_alarms(cube, cube.value, learners),
                bank_dirty=None if learners is None else _bank_alarms(cube, changed.values, learners),
            )


def _maintenance(dataset: Dataset) -> list[tuple[int, int, set[str]]]:
    table = dataset.read(Table.MAINTENANCE, Selection(), ["timestamp", "start", "end", "services"])
    start, end = (table[name].dt.as_unit("ms").astype("int64").tolist() for name in ("start", "end"))
    return [(a, b, set(services)) for a, b, services in zip(start, end, table["services"], strict=True)]


def _marked(cube: Cube, windows: Sequence[LabelledWindow]) -> Bools:
    found = np.zeros(cube.value.shape[:2], dtype=bool)
    for window in windows:
        if window.service in cube.services:
            first, after = np.searchsorted(cube.start, (window.start - cube.step_ms + 1, window.end))
            found[first:after, cube.services.index(window.service)] = True
    return found


def _silenced(cube: Cube, windows: Sequence[tuple[int, int, set[str]]]) -> Bools:
    found = np.zeros(cube.value.shape[:2], dtype=bool)
    for start, end, services in windows:
        first, after = np.searchsorted(cube.start, (start - cube.step_ms + 1, end))
        meant = [not services or service in services for service in cube.services]
        found[first:after, meant] = True
    return found


def _bank_alarms(cube: Cube, values: npt.NDArray[np.float64], learners: Learners) -> Bools:
    """bool[t, s]: whether the online learners have an alarm on any signal, frame by frame as live."""
    frames, services, signals = values.shape
    bank = Bank(learners.settings)
    bank.grow(services * signals)
    there = np.isfinite(values).reshape(frames, -1)
    at, slot = np.nonzero(there)
    alarms = np.zeros(there.shape, dtype=bool)
    value = values.reshape(frames, -1)[there]
    verdicts = bank.score_learn(slot.astype(np.int32), cube.start[at] + cube.step_ms, value)
    floor, share = np.array([learners.floors.get(signal, (0.0, 0.0)) for signal in cube.signals]).T[:, slot % signals]
    small = np.abs(value - verdicts.expected) < np.maximum(floor, share * np.abs(verdicts.expected))
    alarms[at, slot] = verdicts.alarm & ~small
    found: Bools = np.any(alarms.reshape(values.shape), axis=2)
    return found
