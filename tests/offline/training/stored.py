"""Datasets of frames for tests: signals that follow one load, and whatever rows of further tables."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.offline import Dataset
from pipeline.offline.dataset.staging import Request
from pipeline.offline.dataset.tables import SCHEMAS, TIME, Table, bucket_of
from pipeline.offline.dataset.writer import Rows, adding
from tests.builders import START

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SIGNALS = ("cpu", "memory", "rps")
SERVICES = ("cart", "shop")
FRAMES = 3 * 1440


def stored(
    folder: Path,
    seed: int = 0,
    frames: int = FRAMES,
    step_ms: int = 60_000,
    services: Sequence[str] = SERVICES,
    *,
    first: int = 0,
    daily: bool = False,
    instead: Mapping[tuple[str, str], float] = MappingProxyType({}),
    **more: list[dict[str, object]],
) -> Dataset:
    """Three days of two services whose three signals follow one load, and rows of further tables.

    first: its first frame; a folder that has frames already grows. daily: the load follows the day; else it has a
    period of its own. instead: one value all the time, by service and signal.
    """
    rng = np.random.default_rng(seed)
    load = 1 + 0.3 * np.sin(2 * np.pi * np.arange(frames) / 1440 if daily else np.arange(frames) / 229)
    with adding(folder, Request(source="csv")) as writer:
        for service in services:
            for signal in SIGNALS:
                start = START + (first + np.arange(frames)) * step_ms
                value = load * rng.uniform(1, 100) * (1 + 0.02 * rng.standard_normal(frames))
                if (service, signal) in instead:
                    value[:] = instead[service, signal]
                columns = {
                    "timestamp": pa.array(start).cast(TIME),
                    "end": pa.array(start + step_ms).cast(TIME),
                    **{name: pa.array([word] * frames).dictionary_encode() for name, word in
                       (("service", service), ("system", "default"), ("signal", signal))},
                    **dict.fromkeys(("expected", "lower", "upper"), pa.nulls(frames, pa.float64())),
                    "value": pa.array(value, from_pandas=True),
                    "score": pa.array(np.zeros(frames)),
                }  # fmt: skip
                table = pa.table([columns[name] for name in SCHEMAS[Table.FRAMES].names], schema=SCHEMAS[Table.FRAMES])
                bucket = np.full(frames, bucket_of(service, writer.buckets), dtype=np.int32)
                writer.write(Rows(Table.FRAMES, table, bucket, np.zeros(frames, dtype=np.int64)))
        for name, rows in more.items():
            table = pa.Table.from_pylist(rows, schema=SCHEMAS[Table(name)])
            nothing = np.zeros(len(rows), dtype=np.int64)
            writer.write(Rows(Table(name), table, nothing.astype(np.int32), nothing))
        writer.checkpoint(complete=True)
        writer.publish()
    return Dataset(folder)
