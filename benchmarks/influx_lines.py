"""Line protocol for `bench_formats`: as Telegraf writes it, and the obvious way to read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.messages import Rows

LINES = 50
SHARES = ("usage_user", "usage_system", "usage_idle", "usage_nice", "usage_iowait", "usage_irq")
SIZES = ("free", "used", "total", "n")
FIELDS = len(SHARES) + len(SIZES)


def influx(now: int, count: int) -> list[bytes]:
    """Messages of 50 lines of 10 fields: percentages with all their digits, sizes, a time in ns; now in ms."""
    rng = np.random.default_rng(7)
    messages = []
    for at in range(count):
        lines = []
        for line in range(LINES):
            shares = [f"{name}={value!r}" for name, value in zip(SHARES, (rng.random(6) * 100).tolist(), strict=True)]
            sizes = [f"{name}={value}i" for name, value in zip(SIZES, rng.integers(0, 2**40, 4), strict=True)]
            fields = ",".join([*shares, *sizes])
            lines.append(f"cpu,cpu=cpu{line},host=web-{line % 4},env=prod {fields} {(now + at) * 1_000_000}")
        messages.append("\n".join(lines).encode())
    return messages


def obvious_influx(payload: bytes, rows: Rows) -> None:
    """Lines, tags and fields split in Python."""
    for line in payload.decode().split("\n"):
        prefix, fields, time_ns = line.split(" ")
        measurement, *pairs = prefix.split(",")
        tags = dict(pair.split("=") for pair in pairs)
        millis = int(time_ns) // 1_000_000
        for field in fields.split(","):
            name, number = field.split("=")
            rows.add(f"{measurement}_{name}", tags, millis, float(number.removesuffix("i")))
