from __future__ import annotations

import numpy as np
import pytest

from pipeline.batch import SampleBatch, make_batch
from pipeline.series import Kind, Series
from pipeline.views.pulse import Pulse, PulseState

LEARNING_S = 1800.0


def batch(*services: str, rows: int = 1) -> SampleBatch:
    """For each service a series of so many samples, a second apart, the newest at 12:00:09 of some day."""
    labels: list[bytes | None] = []
    identities: list[int] = []
    for service in services:
        series = Series(name="up", labels={"service": service}, kind=Kind.GAUGE, unit="")
        labels += [series.canonical(), *[None] * (rows - 1)]
        identities += [series.identity()] * rows
    noon_ms = 1_767_268_800_000
    ts = np.full(len(labels), noon_ms + 9000, dtype=np.int64)
    return make_batch(np.array(identities, dtype=np.uint64), ts, np.ones(len(labels)), labels)


def test_samples_that_come_are_told_with_rate_services_and_time() -> None:
    """600 samples in the minute are ten a second."""
    pulse = Pulse(0.0, LEARNING_S)
    for now in range(60):
        pulse.take(batch("shop", "cart", rows=5), float(now))
    seen = pulse.seen(60.0)
    assert seen.state is PulseState.FLOWING
    assert seen.words == "9.83 samples/s of 2 services (shop, cart), newest 12:00:09 UTC"


def test_a_slow_scrape_is_no_silence() -> None:
    """One sample each 45 s comes all the time; once it stays away, that is told, and the service is gone."""
    pulse = Pulse(0.0, LEARNING_S)
    pulse.take(batch("shop"), 0.0)
    pulse.take(batch("shop"), 45.0)
    assert pulse.seen(100.0).state is PulseState.FLOWING
    gone = pulse.seen(200.0)
    assert gone.state is PulseState.SILENT
    assert "no samples for 2 min 35 s" in gone.words


def test_many_services_are_counted_and_three_named() -> None:
    """The line stays a line."""
    pulse = Pulse(0.0, LEARNING_S)
    pulse.take(batch(*(f"s{number}" for number in range(50))), 1.0)
    assert "50 services (s0, s1, s2 and 47 more)" in pulse.seen(2.0).words


def test_services_of_which_nothing_is_known_yet_are_told() -> None:
    """Until the first frame that says what is expected, or while no frames come."""
    pulse = Pulse(0.0, LEARNING_S)
    pulse.take(batch("shop", "cart"), 0.0)
    pulse.frame("shop", 1.0, learned=False)
    pulse.frame("cart", 1.0, learned=False)
    assert pulse.seen(2.0).words.endswith("; learning what is normal for 2 services (shop, cart), 30 min each")
    pulse.frame("shop", 3.0, learned=True)
    assert pulse.seen(4.0).words.endswith("; learning what is normal for 1 service (cart), 30 min each")
    pulse.take(batch("shop"), 1.0 + LEARNING_S)
    assert "learning" not in pulse.seen(1.0 + LEARNING_S).words


@pytest.mark.parametrize(
    ("messages_at", "state", "hint"),
    [(None, PulseState.SILENT, "duri collect host"), (21.0, PulseState.UNREAD, "duri run")],
)
def test_silence_names_the_next_step(messages_at: float | None, state: PulseState, hint: str) -> None:
    """Which step is missing: a producer, or a worker. At first nothing is concluded."""
    pulse = Pulse(0.0, LEARNING_S)
    assert pulse.seen(19.0).state is PulseState.LISTENING
    if messages_at is not None:
        pulse.message(messages_at)
    seen = pulse.seen(22.0)
    assert seen.state is state
    assert hint in seen.words
