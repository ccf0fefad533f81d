"""A generated labelled year: what recurs and nobody wants to hear of, and what is trouble; for `benchmarks.value`.

Four services with three gauges each, a sample every five minutes: a daily and a weekly wave and noise with heavy tails
(Student's t, five degrees of freedom). Sizes are in deviations of the noise. By turn, services have

nuisance   a backup every night at 02:00, give or take half an hour, 20 minutes, on one signal, 8 to 16 (two services)
           a report every Monday at about 08:00, an hour, on one signal, 8 to 14
           a warm-up after two releases a week in office hours, 5 to 15 minutes, on two signals, 6 to 14
           bursts of a noisy signal, five a week, 2 to 10 minutes, 8 to 20 (two services)
incident   about 2.5 a week in all: 15 to 120 minutes at any time, on two or three signals of a service, 4 to 14

People look at an anomaly with probability 0.6. They confirm one that overlaps an incident, and reject any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pipeline.series import SERVICE_LABEL, Kind, Series
from pipeline.sources.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICES: Final = ("billing", "checkout", "reports", "search")
SIGNALS: Final = ("queue_depth", "busy_workers", "latency_ms")
START: Final = 1_767_571_200_000  # Monday, 5 January 2026, 00:00 UTC
ANSWERED: Final = 0.6
_DAY: Final = 1440
STEP: Final = 5
"""Minutes from sample to sample."""


class Trouble(NamedTuple):
    """Minutes `first` up to, not including, `after` of a service."""

    service: str
    first: int
    after: int


class Year(NamedTuple):
    """The services' recordings and the incidents."""

    recordings: list[Recording]
    incidents: list[Trouble]


def generate(seed: int, days: int = 364) -> Year:
    """The year of this seed."""
    rng = np.random.default_rng(seed)
    incidents: list[Trouble] = []
    recordings = []
    minutes = np.arange(0, days * _DAY, STEP)
    for number, service in enumerate(SERVICES):
        wave = np.sin(2 * np.pi * minutes / _DAY + number) * np.where(minutes // _DAY % 7 < 5, 1.0, 0.4)
        deviation = rng.uniform(0.5, 5.0, len(SIGNALS))
        lifted = np.zeros((len(minutes), len(SIGNALS)))
        for first, length, signals, size in [*_nuisance(number, days, rng)]:
            lifted[_samples(first, length), signals] += size
        for first, length, signals, size in [*_incidents(days, rng)]:
            lifted[_samples(first, length), signals] += size
            incidents.append(Trouble(service, first, first + length))
        value = 30 * deviation + 4 * deviation * wave[:, None]
        value = value + deviation * (rng.standard_t(5, lifted.shape) + lifted)
        recordings.append(_recording(service, np.maximum(value, 0.0)))
    return Year(recordings, incidents)


Change = tuple[int, int, list[int], float]


def _samples(first: int, length: int) -> slice:
    """Samples within these minutes, at least one."""
    return slice(first // STEP, max(-(-(first + length) // STEP), first // STEP + 1))


def _nuisance(number: int, days: int, rng: np.random.Generator) -> Iterator[Change]:
    quiet, noisy = number % len(SIGNALS), (number + 1) % len(SIGNALS)
    for day in range(days):
        if number in (0, 3):
            yield day * _DAY + 120 + int(rng.integers(-30, 31)), 20, [quiet], rng.uniform(8, 16)
        if number == 2 and day % 7 == 0:
            yield day * _DAY + 480 + int(rng.integers(-15, 16)), 60, [quiet], rng.uniform(8, 14)
        if number == 1 and day % 7 < 5 and rng.random() < 0.4:
            at = day * _DAY + int(rng.integers(9 * 60, 17 * 60))
            yield at, int(rng.integers(5, 16)), [0, 2], rng.uniform(6, 14)
        if number in (2, 3) and rng.random() < 5 / 7:
            yield day * _DAY + int(rng.integers(0, _DAY - 10)), int(rng.integers(2, 11)), [noisy], rng.uniform(8, 20)


def _incidents(days: int, rng: np.random.Generator) -> Iterator[Change]:
    for week in range(days // 7):
        if rng.random() < 2.5 / len(SERVICES):
            at = week * 7 * _DAY + int(rng.integers(0, 7 * _DAY - 120))
            signals = rng.choice(len(SIGNALS), int(rng.integers(2, 4)), replace=False).tolist()
            yield at, int(rng.integers(15, 121)), signals, rng.uniform(4, 14)


def _recording(service: str, value: np.ndarray) -> Recording:
    series = [Series(name=name, labels={SERVICE_LABEL: service}, kind=Kind.GAUGE, unit="") for name in SIGNALS]
    minutes = len(value)
    return Recording(
        series,
        np.tile(np.arange(len(SIGNALS)), minutes),
        np.repeat(START + np.arange(minutes, dtype=np.int64) * STEP * 60_000, len(SIGNALS)),
        value.ravel(),
    )


def overlaps(incidents: list[Trouble], service: str, opened_at: int, ended_at: int) -> int | None:
    """The incident of this service that an anomaly falls into, by number; None where it falls into none."""
    first, last = (opened_at - START) // 60_000, (ended_at - START) // 60_000
    for number, one in enumerate(incidents):
        if one.service == service and first < one.after and last >= one.first - STEP:
            return number
    return None
