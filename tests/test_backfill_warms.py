"""What a backfill is for: a pipeline that knows the past flags in its first live hour what a cold one misses."""

from __future__ import annotations

import math
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.installation import Installation
from tests.prometheus_server import prometheus, require_prometheus, write_history

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP_S = 60
HISTORY_S = 2 * 86_400
HOUR_S = 3600
TROUBLE_S = 300
METRIC = "queue_length"


@dataclass(frozen=True)
class Past:
    """A Prometheus server, and when its live hour begins and ends (seconds)."""

    url: str
    live_s: int
    end_s: int


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """Two healthy days of a queue's length, then an hour that ends now: from its fifth minute on, four times as long.

    No rule has a bound on it: only who knows what is usual can tell.
    """
    require_prometheus()
    folder = tmp_path_factory.mktemp("prometheus")
    chance = random.Random(7)
    end_s = (int(time.time()) // STEP_S - 1) * STEP_S
    live_s = end_s - HOUR_S
    lines = [f"# TYPE {METRIC} gauge"]
    for at in range(live_s - HISTORY_S, end_s + 1, STEP_S):
        usual = 100 + 40 * math.sin(2 * math.pi * at / 86_400) + chance.gauss(0, 5)
        value = 4 * usual if at >= live_s + TROUBLE_S else usual
        lines.append(f'{METRIC}{{job="shop"}} {value:.1f} {at}')
    write_history("\n".join([*lines, "# EOF\n"]), folder / "data")
    with prometheus(folder) as server:
        yield Past(server.url, live_s, end_s)


@pytest.mark.slow
@pytest.mark.parametrize("warm", [True, False])
def test_backfilled_pipeline_flags_what_a_cold_one_misses(kafka, topic_prefix, past, warm):
    """The same live hour through the same bridge: flagged by the learners where the past was backfilled, else not."""
    there = Installation(kafka, topic_prefix).with_topics()
    with there.running():
        if warm:
            filled = there.command(
                "backfill", "prometheus", "--url", past.url, "--from", iso(past.live_s - HISTORY_S),
                "--to", iso(past.live_s),
            )  # fmt: skip
            assert filled.returncode == 0, filled.stderr
            assert "2 881 samples" in filled.stderr or "2 880 samples" in filled.stderr
        with bridging(there, past):
            frames = there.read("frames", lambda found: any(reaches(one, past.end_s - 3 * STEP_S) for one in found))
        assert frames
        opened = [one for one in found_of(there) if one["state"] == "opened" and epoch(one["opened_at"]) >= past.live_s]
    flagged = [one for one in opened if one["signal"] == METRIC and one["detectors"][0]["detector"] == "learned"]
    assert bool(flagged) is warm
    if warm:
        assert epoch(flagged[0]["opened_at"]) <= past.live_s + TROUBLE_S + 5 * STEP_S


@contextmanager
def bridging(there: Installation, past: Past) -> Iterator[None]:
    """`duri bridge prometheus` in the background; where nothing was published before, it begins with the live hour."""
    command = ["bridge", "prometheus", "--url", past.url, "--since", iso(past.live_s), "--step", "1s"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *command], env=there.environment, stderr=subprocess.PIPE, text=True
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0, told


def found_of(there: Installation) -> list[dict[str, Any]]:
    """All anomalies so far: the frames that tell of them were read, so they are written."""
    started = time.monotonic()
    return there.read("anomalies", lambda _: time.monotonic() - started > 3)


def reaches(record: dict[str, Any], at_s: int) -> bool:
    """Whether detect has come so far: a frame ends then, or a partition says so."""
    until = record.get("end") or record.get("until")
    return until is not None and epoch(until) >= at_s


def epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
