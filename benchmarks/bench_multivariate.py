"""Signals judged together: cost and state of many services, false alarms on healthy ones, and what is found.

1,000 and 10,000 services with 12 signals, a frame each minute: CPU milliseconds a frame, the share of a core that is,
bytes a service; River's own trees on the same vectors beside ours. Then twelve services for eight days each: signals
that follow three common causes and a daily season, with noise Gaussian or Student-t with 4 degrees; judged are their
deviations from what the learner bank expects. Injected for 20 minutes each: five signals off by 2.5 of their standard
deviations, all by 2, one by 6, and two that always move together going opposite ways by one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.harness import report
from models.multivariate.learner import Multivariate, MultivariateSettings
from models.multivariate.river_choice import RiverChoice
from models.multivariate.scale import unit_interval
from models.online.bank import Bank

if TYPE_CHECKING:
    import numpy.typing as npt

    Cube = npt.NDArray[np.float64]

SIGNALS = 12
NAMES = [f"s{number:02d}" for number in range(SIGNALS)]
SERVICES, DAYS, DAY = 12, 8, 1440
SCORERS: dict[str, MultivariateSettings] = {
    "covariance": MultivariateSettings(),
    "trees": MultivariateSettings(river="anomaly.HalfSpaceTrees"),
}


class Injected(NamedTuple):
    """An anomaly: service, kind, first frame."""

    service: int
    kind: str
    at: int


def speed(settings: MultivariateSettings, services: int, frames: int = 40) -> tuple[float, float]:
    """CPU ms a frame of all services, and bytes of state a service."""
    learner = Multivariate(NAMES, settings)
    learner.grow(services)
    rows, least = np.arange(services, dtype=np.int32), np.zeros((services, SIGNALS))
    vectors = np.random.default_rng(0).normal(size=(frames, services, SIGNALS))
    # The first vectors are cheap: nothing is scored yet.
    for vector in np.random.default_rng(1).normal(size=(260, 1, SIGNALS)):
        learner.score_learn(rows, np.repeat(vector, services, axis=0) + vectors[0], least)
    began = time.process_time()
    for vector in vectors:
        learner.score_learn(rows, vector, least)
    spent = (time.process_time() - began) / frames
    return spent * 1000, sum(part.nbytes for part in learner.snapshot().values()) / services


def river_speed(vectors: int = 1500) -> float:
    """CPU ms that River's own trees take for one vector of each of 1,000 services."""
    model = RiverChoice("anomaly.HalfSpaceTrees").make()
    scaled = unit_interval(np.random.default_rng(0).normal(size=(vectors, SIGNALS)))
    features = [dict(zip(NAMES, row, strict=True)) for row in scaled.tolist()]
    began = time.process_time()
    for one in features:
        model.score_one(one)
        model.learn_one(one)
    return (time.process_time() - began) / vectors * 1000 * 1000


def healthy(*, heavy: bool) -> Cube:
    """Values of the services; float64[services, frames, signals]."""
    rng = np.random.default_rng(3 + heavy)
    frames = DAYS * DAY
    values = np.empty((SERVICES, frames, SIGNALS))
    persistence = np.array([0.7, 0.9, 0.97])
    for service in range(SERVICES):
        season = np.sin(2 * np.pi * (np.arange(frames) / DAY + rng.random()))
        causes = np.zeros((frames, 3))
        steps = rng.normal(size=(frames, 3)) * np.sqrt(1 - persistence**2)
        for at in range(1, frames):
            causes[at] = persistence * causes[at - 1] + steps[at]
        own = rng.standard_t(4, (frames, SIGNALS)) / np.sqrt(2) if heavy else rng.normal(size=(frames, SIGNALS))
        common = causes @ rng.normal(size=(3, SIGNALS)) * rng.uniform(0.3, 1.0, SIGNALS)
        values[service] = 50 + season[:, np.newaxis] * rng.uniform(0, 6, SIGNALS) + common + own * 0.6
        # A pair that always moves together, as a rate and the load behind it do.
        values[service, :, 1] = values[service, :, 0] + 0.1 * own[:, 1]
    return values


def inject(values: Cube) -> list[Injected]:
    """Put anomalies into the last two days; what and where."""
    rng = np.random.default_rng(9)
    found = []
    for service, signals in enumerate(values):
        fast = signals - np.apply_along_axis(lambda one: np.convolve(one, np.ones(240) / 240, "same"), 0, signals)
        off = fast.std(axis=0)
        for number, kind in enumerate(("five by 2.5", "all by 2", "one by 6", "pair parted")):
            at = (DAYS - 2) * DAY + 200 + 600 * number
            window = signals[at : at + 20]
            if kind == "pair parted":
                window[:, 0] += 1.0 * off[0]
                window[:, 1] -= 1.0 * off[1]
            else:
                count = {"five by 2.5": 5, "all by 2": SIGNALS, "one by 6": 1}[kind]
                chosen = rng.choice(SIGNALS, count, replace=False)
                window[:, chosen] += float(kind.rpartition(" ")[2]) * off[chosen] * rng.choice([-1, 1], len(chosen))
            found.append(Injected(service, kind, at))
    return found


def deviations(values: Cube) -> Cube:
    """From what the bank expects, as live."""
    bank, shape = Bank(), values.shape
    bank.grow(shape[0] * shape[2])
    slots = np.arange(shape[0] * shape[2], dtype=np.int32)
    result = np.empty(shape)
    for at in range(shape[1]):
        now = np.ascontiguousarray(values[:, at]).ravel()
        verdicts = bank.score_learn(slots, np.full(len(slots), (at + 29_000_000) * 60_000, np.int64), now)
        result[:, at] = (now - verdicts.expected).reshape(shape[0], shape[2])
    return result


def judged(settings: MultivariateSettings, off: Cube, injected: list[Injected]) -> dict[str, float]:
    """False alarms a service-day, and the share found of each kind."""
    learner = Multivariate(NAMES, settings)
    learner.grow(SERVICES)
    rows, least = np.arange(SERVICES, dtype=np.int32), np.zeros((SERVICES, SIGNALS))
    alarm = np.array([learner.score_learn(rows, off[:, at], least).alarm for at in range(off.shape[1])])
    starts = alarm & ~np.vstack([np.zeros((1, SERVICES), bool), alarm[:-1]])
    found: dict[str, list[bool]] = {}
    for service, kind, at in injected:
        found.setdefault(kind, []).append(bool(alarm[at : at + 23, service].any()))
        starts[at : at + 60, service] = False
    figures = {"false_alarms_a_day": float(starts.sum()) / (SERVICES * DAYS)}
    return figures | {f"found {kind}": float(np.mean(hits)) for kind, hits in found.items()}


def main() -> None:
    """Cost first, then what it finds."""
    figures: dict[str, object] = {}
    for name, settings in SCORERS.items():
        for services in (1_000, 10_000):
            spent, size = speed(settings, services)
            figures[f"{name}_{services}_ms_a_frame"] = round(spent, 2)
            figures[f"{name}_{services}_core_share"] = round(spent / 60_000, 6)
            figures[f"{name}_bytes_a_service"] = round(size)
    figures["river_trees_1000_ms_a_frame"] = round(river_speed(), 1)
    for heavy in (False, True):
        values = healthy(heavy=heavy)
        injected = inject(values)
        off = deviations(values)
        for name, settings in SCORERS.items():
            label = f"{name} {'heavy tails' if heavy else 'gaussian'}"
            figures[label] = {key: round(value, 4) for key, value in judged(settings, off, injected).items()}
    report("multivariate", figures)


if __name__ == "__main__":
    main()
