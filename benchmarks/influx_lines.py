"""The Influx part of `bench_formats`: lines to columns, against splitting them in Python in the same run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import median
from pipeline.ingest import influx
from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.points import Context
from pipeline.settings import IngestSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

MESSAGES = 200
LINES = 50
FIELDS = (
    "usage_user",
    "usage_system",
    "usage_idle",
    "usage_nice",
    "usage_iowait",
    "usage_irq",
    "free",
    "used",
    "total",
    "n",
)
ROUNDS = 5


def messages(now: int) -> list[bytes]:
    """Messages of 50 lines and 10 fields, as Telegraf writes them: percentages in full, sizes, counts; now in ms."""
    rng = np.random.default_rng(7)
    made = []
    for at in range(MESSAGES):
        lines = []
        for line in range(LINES):
            shares = ",".join(
                f"{name}={share!r}" for name, share in zip(FIELDS, (rng.random(6) * 100).tolist(), strict=False)
            )
            sizes = ",".join(
                f"{name}={size}i" for name, size in zip(FIELDS[6:], rng.integers(0, 2**40, 4), strict=True)
            )
            lines.append(f"cpu,cpu=cpu{line},host=web-{line % 4},env=prod {shares},{sizes} {(now + at) * 1_000_000}")
        made.append("\n".join(lines).encode())
    return made


def split(payload: bytes, known: dict[tuple[str, str], int]) -> tuple[list[int], list[int], list[float]]:
    """The obvious way: split lines, tags from fields, fields from each other."""
    series, ts, value = [], [], []
    for line in payload.decode().split("\n"):
        prefix, fields, time_ns = line.split(" ")
        millis = int(time_ns) // 1_000_000
        for field in fields.split(","):
            name, _, number = field.partition("=")
            series.append(known.setdefault((prefix, name), len(known)))
            ts.append(millis)
            value.append(float(number.removesuffix("i")))
    return series, ts, value


def measure() -> dict[str, float]:
    """Thousand samples a CPU second both ways, and their ratio; medians over rounds that take turns."""
    now = 1_767_225_600_000
    made = messages(now)
    context = Context(SeriesCatalog(IngestSettings(), 4), None, now)
    known: dict[tuple[str, str], int] = {}
    _check(influx.decode(made[0], context)[:3], split(made[0], known))
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(_thousands(lambda payload: influx.decode(payload, context), made))
        theirs.append(_thousands(lambda payload: split(payload, known), made))
    return {
        "influx_k_per_cpu_s": round(median(ours), 1),
        "influx_split_k_per_cpu_s": round(median(theirs), 1),
        "influx_times_split": round(median([a / b for a, b in zip(ours, theirs, strict=True)]), 2),
    }


def _thousands(decode: Callable[[bytes], object], made: Sequence[bytes]) -> float:
    began = time.process_time()
    for payload in made:
        decode(payload)
    return len(made) * LINES * len(FIELDS) / (time.process_time() - began) / 1000


def _check(ours: Sequence[object], theirs: Sequence[npt.ArrayLike]) -> None:
    """Both say the same, or their speeds do not compare."""
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)
