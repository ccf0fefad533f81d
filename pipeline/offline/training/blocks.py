"""What a training sees of a dataset: some services at a time, so that no dataset is too large.

A block holds these services' features over all the time, as they were and once more with anomalies put in.
Evaluation judges one of the two: with anomalies where these are what it seeks, else as they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from models.offline.features import of_cube
from models.offline.injected import AFTERMATH_MS, aftermath, inject
from models.online.bank import Bank, BankSettings
from pipeline.detect.detectors.static import StaticRules
from pipeline.detect.frame import ClosedFrame
from pipeline.errors import FileError
from pipeline.offline.dataset.reading import Selection
from pipeline.offline.dataset.tables import Table
from pipeline.offline.training.sought import Sought, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from models.offline.injected import Injected
    from pipeline.detect.detectors.thresholds import StaticRule
    from pipeline.offline.dataset.labels import LabelledWindow
    from pipeline.offline.dataset.reading import Cube, Dataset
    from pipeline.offline.dataset.times import Span
    from pipeline.offline.training.sought import Event

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]
    Features = Callable[[Floats, Floats, npt.NDArray[np.int64], int], Floats]

_AFTER_MS: Final = 1_800_000
"""After trouble and maintenance, until means and queues have forgotten it: nothing to learn from, nobody's alarm."""
_SERVICES: Final = 16
"""Services in memory at once …"""
_VALUES: Final = 28_000_000
"""… but no more than have so many values: 16 with 40 signals and 30 days of minutes."""


class Learners(NamedTuple):
    """What judges without a trained model: the online learners' settings as they run live, and the static rules.

    floors: the smallest deviation that matters by signal, (in its unit, as a share of the expectation); the larger
    counts.
    """

    settings: BankSettings = BankSettings()
    floors: Mapping[str, tuple[float, float]] = {}
    rules: Mapping[str, StaticRule] = {}
    patience_ms: int = 300_000
    """Without a value for so long, a static rule starts over."""


@dataclass(frozen=True, slots=True)
class Block:
    """t frames of s services; start int64[t] in ms.

    clean, dirty   float64[t, s, features]  as they were; with anomalies put in
    injected       bool[t, s]               where these are
    aftermath      bool[t, s]               what may still remember them in `judged`; never where real trouble is sought
    trouble        bool[t, s]               labelled as mattering to people
    abnormal       bool[t, s]               labelled so or within a maintenance window, or half an hour after:
                                            not to learn from
    sought         what an evaluation seeks in `judged`, which is one of the two
    bank, static   bool[t, s]               any signal in alarm by online learners, by static rules; None: not asked for
    """

    services: Sequence[str]
    start: npt.NDArray[np.int64]
    clean: npt.NDArray[np.float64]
    dirty: npt.NDArray[np.float64]
    injected: Bools
    trouble: Bools
    abnormal: Bools
    judged: npt.NDArray[np.float64]
    sought: tuple[Event, ...]
    aftermath: Bools
    bank: Bools | None = None
    static: Bools | None = None

    @property
    def step_s(self) -> float:
        """Seconds from frame to frame."""
        return float(self.start[1] - self.start[0]) / 1000 if len(self.start) > 1 else 60.0

    def within(self, span: Span) -> slice:
        """Frames that start within the span."""
        first, after = np.searchsorted(self.start, (span.start, span.end))
        return slice(int(first), int(after))


class _Seen(NamedTuple):
    """Frames of some services, once more with anomalies put in, and the features of either as a block has them."""

    cube: Cube
    changed: Injected
    clean: npt.NDArray[np.float64]
    dirty: npt.NDArray[np.float64]


class Blocks:
    """All blocks of a dataset, as often as they are wanted: the same each time. Raises FileError without frames."""

    def __init__(
        self,
        dataset: Dataset,
        signals: Sequence[str],
        injected: int,
        seed: int,
        seek: Sought | None = None,
        windows: Sequence[LabelledWindow] = (),
        *,
        features: Features = lambda values, _usual, _start, _step_ms: of_cube(values),
    ) -> None:
        """`windows` are labelled beyond what the dataset has, whether they are sought or not.

        `features` makes float64[t, services, features] of values float64[t, services, signals], the same as they were
        before anything was put in, int64[t] ms and a step.
        """
        self.dataset = dataset
        self._seek = seek or Sought(Source.INJECTED)
        self.signals = tuple(signals or dataset.signals())
        self.services = dataset.services()
        if not self.services or not self.signals:
            raise FileError(
                f"{dataset.folder}: has no frames to train on; export a range in which `duri run` wrote some"
            )
        self._injected = injected
        self._seed = seed
        self._windows = [*dataset.windows(), *windows]
        self._maintenance = _maintenance(dataset)
        self._features = features
        self._kept: _Seen | None = None

    def __iter__(self) -> Iterator[Block]:
        return self.read()

    def cubes(self) -> Iterator[Cube]:
        """The frames of each block."""
        together = self._together()
        for at in range(0, len(self.services), together):
            yield self.dataset.cube(self.services[at : at + together], self.signals)

    def abnormal(self, cube: Cube) -> Bools:
        """bool[t, s]: what is not to be learned from, as `Block.abnormal`."""
        trouble = _marked(cube, [window for window in self._windows if window.matters])
        return _and_after(trouble | _silenced(cube, self._maintenance), cube.step_ms)

    def read(self, learners: Learners | None = None) -> Iterator[Block]:
        """Block by block; with learners, also what they and the static rules say of what is judged."""
        together = self._together()
        for at in range(0, len(self.services), together):
            yield self._block(self._seen(at, together), learners)

    def _seen(self, at: int, together: int) -> _Seen:
        """These services' frames and features. Where they are all there are, they are kept for the next reading."""
        if self._kept is not None:
            return self._kept
        services = self.services[at : at + together]
        cube = self.dataset.cube(services, self.signals)
        spacing = aftermath_frames(cube)
        changed = inject(cube.value, self._injected, np.random.default_rng([self._seed, at]), spacing)
        # Side by side: a step through time costs the same for twice as many services.
        values, usual = (np.concatenate([cube.value, one], axis=1) for one in (changed.values, cube.value))
        both = self._features(values, usual, cube.start, cube.step_ms)
        found = _Seen(cube, changed, both[:, : len(services)], both[:, len(services) :])
        if len(services) == len(self.services):
            self._kept = found
        return found

    def _block(self, seen: _Seen, learners: Learners | None) -> Block:
        cube, changed = seen.cube, seen.changed
        put_in = self._seek.source is Source.INJECTED
        values = changed.values if put_in else cube.value
        return Block(
            services=list(cube.services),
            start=cube.start,
            clean=seen.clean,
            dirty=seen.dirty,
            injected=changed.labels,
            trouble=_marked(cube, [window for window in self._windows if window.matters]),
            abnormal=self.abnormal(cube),
            judged=seen.dirty if put_in else seen.clean,
            sought=self._seek.events(cube, changed.anomalies),
            aftermath=aftermath(changed.labels & put_in, aftermath_frames(cube)),
            bank=None if learners is None else _bank_alarms(cube, values, learners),
            static=None if learners is None else _static_alarms(cube, values, learners),
        )

    def _together(self) -> int:
        """How many services make a block."""
        values_of_one = self.dataset.manifest.rows(Table.FRAMES) // len(self.services)
        return max(1, min(_SERVICES, _VALUES // max(values_of_one, 1)))


def aftermath_frames(cube: Cube) -> int:
    """Frames of an aftermath, begun ones too."""
    return -(-AFTERMATH_MS // cube.step_ms)


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


def _and_after(marked: Bools, step_ms: int) -> Bools:
    """bool[t, s]: these frames, and those that begin within `_AFTER_MS` after them."""
    return marked | aftermath(marked, _AFTER_MS // step_ms)


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


def _static_alarms(cube: Cube, values: npt.NDArray[np.float64], learners: Learners) -> Bools:
    """bool[t, s]: whether any static rule fires, frame by frame as live."""
    found = np.zeros(values.shape[:2], dtype=bool)
    known = {name: rule for name, rule in learners.rules.items() if rule.signal in cube.signals}
    if not known:
        return found
    static = StaticRules(known, list(cube.signals), learners.patience_ms)
    static.grow(len(cube.services))
    for row, service in enumerate(cube.services):
        static.attach(row, service)
    there = np.isfinite(values)
    alive = np.ones(len(cube.services), dtype=bool)
    for at, start in enumerate(cube.start.tolist()):
        frame = ClosedFrame(start, start + cube.step_ms, values[at], there[at], alive, there[at].any(axis=1))
        found[at, [flag.row for flag in static.judge(frame)]] = True
    return found
