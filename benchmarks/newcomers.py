"""What priors are worth: new services of a known fleet on their first day, cold, warm, and as old ones would have done.

The fleet, one for each seed: services with five signals (`SIGNALS`), each at a level of its own (log-normal), all
on the fleet's day (a wave whose height and phase differ a little from service to service) or on none, with noise of a
size that is usual for the signal: a part Student's t, a part with a memory of ten minutes. Sixteen services of ten
days are known: the shipped recipe learns from their frames, by the code of `duri train`, and its gate is asked. Then 24
others begin at an hour of the day that chance gives.

cold    learners without priors
warm    learners with these, as detect runs them
mature  the same services' learners after ten days of their own: what can be hoped for

Told of each are: the minute from which on series are judged; false alarms per series in the first hour and in the first
day; and of faults (six deviations of the series' own noise up, for half an hour) that begin in the first hour, after
its first twelve minutes, and in the rest of the day, the share at which an alarm opens that is not there without it.

    python -m benchmarks.newcomers SEED…      1 to 9 were used while this was developed
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from scipy.signal import lfilter

from benchmarks.frames import MINUTE_MS, START, write_frames
from benchmarks.harness import report
from models.evaluation import onsets
from models.online.bank import Bank
from pipeline.configfile import shipped_config
from pipeline.detect.trained.priors import Priors
from pipeline.detect.trained.seats import Seating
from pipeline.offline.dataset.reading import Dataset
from pipeline.offline.dataset.staging import Request
from pipeline.offline.dataset.writer import adding
from pipeline.offline.training.recipe import load_recipe
from pipeline.offline.training.train import train
from pipeline.records import ModelMove, from_ms
from pipeline.registry import gate, package
from pipeline.registry.store import Store
from pipeline.settings import ModelSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

DAY: Final = 1440
PAST_DAYS: Final = 10
KNOWN: Final = 16
NEW: Final = 24
_DEVIATIONS: Final = 6.0
_LASTS: Final = 30
_FIRST: Final = 12


class Kind(NamedTuple):
    """A kind of signal: wave of the day, noise, and mean and deviation of the logarithm of its level."""

    wave: float
    noise: float
    level: float
    varies: float
    tails: float


SIGNALS: Final = {
    "latency": Kind(0.3, 0.08, -2.0, 1.0, 5.0),
    "rps": Kind(0.5, 0.05, 4.0, 1.5, 8.0),
    "cpu": Kind(0.35, 0.06, -1.0, 0.5, 6.0),
    "errors": Kind(0.0, 0.3, -6.0, 1.0, 4.0),
    "memory": Kind(0.0, 0.01, 20.0, 1.0, 8.0),
}


class Service(NamedTuple):
    """Values float64[t, signals] and each signal's noise as a part of its level, float64[signals]."""

    value: Floats
    noise: Floats


def service(days: int, phase: float, rng: np.random.Generator) -> Service:
    """One service of the fleet."""
    minutes = np.arange(days * DAY) / DAY
    found, noises = [], []
    for kind in SIGNALS.values():
        wave = 1 + kind.wave * rng.uniform(0.7, 1.3) * np.sin(2 * np.pi * (minutes + phase + rng.normal(0, 0.02)))
        noise = kind.noise * rng.uniform(0.7, 1.4)
        slow = lfilter([1.0], [1.0, -0.9], rng.standard_normal(len(minutes))) * np.sqrt(1 - 0.9**2)
        quick = rng.standard_t(kind.tails, len(minutes)) * np.sqrt((kind.tails - 2) / kind.tails)
        found.append(np.exp(rng.normal(kind.level, kind.varies)) * wave * np.exp(noise * 0.7 * (slow + quick)))
        noises.append(noise)
    return Service(np.stack(found, axis=1), np.array(noises))


class Learners(NamedTuple):
    """The bank and the priors as detect has them."""

    bank: Bank
    priors: Priors

    def judge(self, values: Floats, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Alarm, and whether anything was expected, bool[t, series] of float64[t, series] from minute `first` on."""
        count = values.shape[1]
        self.bank.grow(count)
        slots = np.arange(count, dtype=np.int32)
        columns = np.arange(count) % len(SIGNALS)
        alarm, judged = np.zeros(values.shape, bool), np.zeros(values.shape, bool)
        for at, value in enumerate(values):
            end = START + (first + at + 1) * MINUTE_MS
            verdicts = self.bank.score_learn(slots, np.full(count, end), value)
            self.priors.warm(self.bank, slots, columns, end)
            alarm[at], judged[at] = verdicts.alarm, np.isfinite(verdicts.expected)
        return alarm, judged


def trained(folder: Path, fleet: list[Service]) -> tuple[Seating, tuple[str, ...]]:
    """A seating in which the priors of this fleet are live, and what the gate has against them."""
    with adding(folder / "data", Request(source="csv")) as writer:
        for number, one in enumerate(fleet):
            write_frames(writer, f"service-{number}", list(SIGNALS), one.value)
        writer.checkpoint(complete=True)
        writer.publish()
    store = Store(str(folder / "registry"))
    made = train(Dataset(folder / "data"), load_recipe("priors", shipped_config()), store)
    manifest, model = store.whole(made.manifest.name, made.version)
    seating = Seating(list(SIGNALS))
    for part in package.parts(manifest.name, made.version, package.pack(manifest, model)):
        seating.bring(part)
    seating.take(ModelMove(id="b", at=from_ms(0), model=manifest.name, number=1, action="promote", live=made.version))
    return seating, gate.objections(manifest, None, {}, ModelSettings().margin)


def first_days(make: Callable[[], Learners], values: Floats, noise: Floats, first: int, seed: int) -> dict[str, float]:
    """What learners do in a day, float64[DAY, series]; noise float64[series]."""
    rng = np.random.default_rng(seed)
    alarm, judged = make().judge(values, first)
    opened = np.stack([onsets(column) for column in alarm.T], axis=1)
    found = {
        "judged_from_minute": float(np.median(judged.argmax(axis=0))),
        "false_alarms_first_hour": float(opened[:60].sum(axis=0).mean()),
        "false_alarms_first_day": float(opened.sum(axis=0).mean()),
    }
    for name, low, high in (("first_hour", _FIRST, 60), ("rest_of_day", 60, DAY - _LASTS)):
        begin = rng.integers(low, high, values.shape[1])
        since = np.arange(len(values))[:, None] - begin
        during = (since >= 0) & (since < _LASTS)
        faulty, _ = make().judge(np.where(during, values * (1 + _DEVIATIONS * noise), values), first)
        found[f"found_{name}"] = float((during & faulty & ~alarm).any(axis=0).mean())
    return {name: round(value, 3) for name, value in found.items()}


def measured(seed: int, folder: Path) -> dict[str, Any]:
    """One fleet."""
    rng = np.random.default_rng(seed)
    phase = float(rng.random())
    seating, against = trained(folder, [service(PAST_DAYS, phase, rng) for _ in range(KNOWN)])
    new = [service(PAST_DAYS + 2, phase, rng) for _ in range(NEW)]
    whole = np.concatenate([one.value for one in new], axis=1)
    noise = np.concatenate([one.noise for one in new])
    first = PAST_DAYS * DAY + int(rng.integers(0, DAY))
    names = list(SIGNALS)
    old = Learners(Bank(), Priors(Seating(names), names))
    old.judge(whole[:first], 0)
    makers: dict[str, Callable[[], Learners]] = {
        "cold": lambda: Learners(Bank(), Priors(Seating(names), names)),
        "warm": lambda: Learners(Bank(), Priors(seating, names)),
        "mature": lambda: Learners(copy.deepcopy(old.bank), old.priors),
    }
    day = whole[first : first + DAY]
    return {
        "gate": list(against),
        "new_series": day.shape[1],
        **{who: first_days(make, day, noise, first, seed) for who, make in makers.items()},
    }


def main() -> None:
    """A line for each fleet."""
    parser = argparse.ArgumentParser(description="New services of a known fleet, cold, warm and mature.")
    parser.add_argument("seeds", type=int, nargs="+", help="Of the generated fleets.")
    for seed in parser.parse_args().seeds:
        with tempfile.TemporaryDirectory() as folder:
            report("newcomers", {"seed": seed, **measured(seed, Path(folder))})


if __name__ == "__main__":
    main()
