"""A generated, labelled world whose signals move together: what trained models are for; for `benchmarks.safety`.

Six services with eight signals, a frame a minute. Each service has one load: a daily wave, times slow and quick swings
of its users (log-normal, a few hours and 20 minutes long, deviations 0.25 and 0.3), which no clock foretells. All
signals follow the load by a power of their own, with noise of a few per cent (Student's t, five degrees of freedom). So
each signal alone may be anywhere within its range at any time, while together they lie on a curve.

Trouble, labelled as such, of which each service has TROUBLES a day, apart from each other, of the kinds by turn

together   one to three signals take, for 20 to 90 minutes, the values of another load that the service often has (from
           its 5th to its 95th percentile, at least the factor 1.6 away): latency as at noon while the traffic is
           that of the night, processor time off for the rate, a pool that does not follow. Each signal stays in its
           usual range, which `within_range` measures
single     one signal leaves its range: a spike of 2 to 5 minutes, a shift of 20 to 60, or a trend over 40 to 90, by 0.6
           to 1.5 times the whole of its range

No trouble is in the first day. Nothing else is out of the ordinary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from scipy.signal import lfilter

from benchmarks.frames import MINUTE_MS, START, write_frames
from pipeline.offline.dataset.labels import LabelledWindow
from pipeline.offline.dataset.reading import Dataset
from pipeline.offline.dataset.staging import Request
from pipeline.offline.dataset.writer import adding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

SIGNALS: Final = ("connections", "cpu", "errors", "io", "latency", "memory", "queue", "rps")
SERVICES: Final = 6
TROUBLES: Final = 1.5
_DAY: Final = 1440
_APART: Final = 1.6


class Trouble(NamedTuple):
    """Frames `first` up to, not including, `after`; columns of signals."""

    kind: str
    first: int
    after: int
    signals: tuple[int, ...]


class World(NamedTuple):
    """The dataset, its labelled windows, and the share of the values of trouble `together` in each signal's range."""

    dataset: Dataset
    windows: list[LabelledWindow]
    within_range: float


def generate(folder: Path, seed: int, days: int) -> World:
    """The world of this seed, its frames written into the folder."""
    rng = np.random.default_rng(seed)
    windows, inside = [], []
    with adding(folder, Request(source="csv")) as writer:
        for number in range(SERVICES):
            service = f"service-{number}"
            powers, sizes = rng.uniform(0.4, 1.6, len(SIGNALS)), 10 ** rng.uniform(-1, 4, len(SIGNALS))
            noise = rng.uniform(0.02, 0.08, len(SIGNALS))
            load = _load(days * _DAY, rng)
            value = _follow(load, powers, noise, rng)
            low, high = np.quantile(value, (0.005, 0.995), axis=0)
            for one in _troubles(days, rng):
                part = slice(one.first, one.after)
                if one.kind == "together":
                    value[part, one.signals] = _of_another_load(load, part, (powers, noise), rng)[:, one.signals]
                    moved = value[part, one.signals]
                    inside.append((moved >= low[[*one.signals]]) & (moved <= high[[*one.signals]]))
                else:
                    column = one.signals[0]
                    _leave(value[:, column], one, float(high[column] - low[column]), rng)
                ends = [START + frame * MINUTE_MS for frame in (one.first, one.after)]
                windows.append(LabelledWindow(*ends, service, "", matters=True, source=one.kind))
            write_frames(writer, service, SIGNALS, value * sizes)
        writer.checkpoint(complete=True)
        writer.publish()
    share = float(np.concatenate([one.ravel() for one in inside]).mean())
    return World(Dataset(folder), windows, share)


def _load(frames: int, rng: np.random.Generator) -> Floats:
    wave = 1 + 0.4 * np.sin(2 * np.pi * (np.arange(frames) / _DAY + rng.random()))
    swings = sum(_swing(frames, length, deviation, rng) for length, deviation in ((240.0, 0.25), (20.0, 0.3)))
    return np.asarray(wave * np.exp(swings))


def _swing(frames: int, length: float, deviation: float, rng: np.random.Generator) -> Floats:
    """An autoregressive process of first order with this memory in frames."""
    keep = np.exp(-1 / length)
    found = lfilter([1.0], [1.0, -keep], rng.standard_normal(frames) * deviation * np.sqrt(1 - keep**2))
    return np.asarray(found)


def _follow(load: Floats, powers: Floats, noise: Floats, rng: np.random.Generator) -> Floats:
    errors = rng.standard_t(5, (len(load), len(powers)))
    return np.asarray(load[:, None] ** powers * np.exp(noise * errors))


def _of_another_load(load: Floats, part: slice, shape: tuple[Floats, Floats], rng: np.random.Generator) -> Floats:
    """What all signals would be at another load: the level of another time, with the swings of this one."""
    here = float(np.exp(np.log(load[part]).mean()))
    low, high = np.quantile(load, (0.05, 0.95))
    choices = np.geomspace(low, high, 50)
    far = choices[np.maximum(choices / here, here / choices) >= _APART]
    return _follow(load[part] * (rng.choice(far) / here), *shape, rng)


def _leave(signal: Floats, one: Trouble, reach: float, rng: np.random.Generator) -> None:
    length = one.after - one.first
    shape = np.linspace(0.2, 1.0, length) if one.kind == "trend" else np.ones(length)
    signal[one.first : one.after] += rng.uniform(0.6, 1.5) * reach * shape


def _troubles(days: int, rng: np.random.Generator) -> Iterator[Trouble]:
    """By turn together, spike, together, shift, together, trend: as many of the one as of the other."""
    kinds = ("together", "spike", "together", "shift", "together", "trend")
    lengths = {"together": (20, 91), "spike": (2, 6), "shift": (20, 61), "trend": (40, 91)}
    part = round(_DAY / TROUBLES)
    for number, begin in enumerate(range(_DAY, days * _DAY - part, part)):
        kind = kinds[number % len(kinds)]
        first = begin + int(rng.integers(0, part - 240))
        count = int(rng.integers(1, 4)) if kind == "together" else 1
        signals = tuple(sorted(rng.choice(len(SIGNALS), count, replace=False).tolist()))
        yield Trouble(kind, first, first + int(rng.integers(*lengths[kind])), signals)
