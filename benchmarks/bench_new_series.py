"""A message of nothing but series that were never met: what it takes, in every format, at the limit and per series.

Milliseconds of CPU for one message of `ingest.max_series_per_message` series (its default; `_ms`), and microseconds a
series (`_us`, median of several messages of a tenth of it, each with an empty catalog), of three labels and a service.
Nothing but new series takes time like that: `benchmarks.bench_formats` says what known ones do. While a worker's thread
reads such a message, `_unheard_ms` is the longest that its event loop, which answers Kafka, does not get its turn.

`_64k_ms` is of messages of 64 KiB with as many new series as their format lets them have (`_64k_series`; see
`benchmarks.densest`): 100 ms is what a message of at most that size may take.

Memory is the process's (Linux), for a message of a tenth of the limit: bytes that the table of series keeps of each
(`_kept_bytes`), and how many times the message, unfolded, the peak is above that, when its series are new
(`_beside_new`) and when they are known (`_beside_known`).
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cramjam
import numpy as np
import psutil
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from benchmarks.densest import DENSEST
from benchmarks.harness import median, report
from benchmarks.messages import NAME, SERVICE, labels
from pipeline.batch import encode_batch, make_batch
from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.columns import Columns
from pipeline.ingest.formats.registry import by_name
from pipeline.ingest.protobuf import remote_write_pb2 as wire
from pipeline.ingest.reader import MessageReader
from pipeline.runtime.memory import collect_seldom
from pipeline.series import Kind, Series
from pipeline.settings import IngestSettings
from pipeline.stage import LogRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = 5
_TURN_S = 0.001


def named(series: int) -> Iterator[dict[str, str]]:
    """Labels of each of so many series."""
    return ({**labels(one), "service": SERVICE} for one in range(series))


def otlp(now: int, series: int) -> ExportMetricsServiceRequest:
    """A request of a gauge with a point for each series."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name=NAME)
    for one in named(series):
        point = metric.gauge.data_points.add(time_unix_nano=now * 1_000_000, as_double=1.0)
        for name, text in one.items():
            point.attributes.add(key=name).value.string_value = text
    return request


def otlp_json(now: int, series: int) -> bytes:
    """The same as JSON."""
    return json_format.MessageToJson(otlp(now, series), indent=None).encode()


def remote_write(now: int, series: int) -> bytes:
    """A request of 1.0."""
    request = wire.WriteRequest()
    for one in named(series):
        added = request.timeseries.add(samples=[wire.Sample(value=1.0, timestamp=now)])
        for name, text in {"__name__": NAME, **one}.items():
            added.labels.add(name=name, value=text)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def remote_write_2(now: int, series: int) -> bytes:
    """A request of 2.0."""
    table, request = {"": 0}, wire.Request()
    for one in named(series):
        pairs = {"__name__": NAME, **one}.items()
        refs = [table.setdefault(text, len(table)) for pair in pairs for text in pair]
        request.timeseries.add(labels_refs=refs, samples=[wire.Sample(value=1.0, timestamp=now)])
    request.symbols.extend(table)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def lines(now: int, series: int) -> bytes:
    """Lines of one field."""
    tags = (",".join(f"{name}={text}" for name, text in one.items()) for one in named(series))
    return "".join(f"http,{each} requests_total=1 {now}000000\n" for each in tags).encode()


def text(now: int, series: int) -> bytes:
    """A body of a scrape."""
    pairs = (",".join(f'{name}="{value}"' for name, value in one.items()) for one in named(series))
    return "".join(f"{NAME}{{{each}}} 1 {now}\n" for each in pairs).encode()


def arrow(now: int, series: int) -> bytes:
    """A batch."""
    each = [Series(name=NAME, labels=one, kind=Kind.COUNTER, unit="") for one in named(series)]
    identities = np.array([one.identity() for one in each], np.uint64)
    return encode_batch(
        make_batch(identities, np.full(series, now), np.ones(series), [one.canonical() for one in each])
    )


def as_json(frame: str, one_of: Callable[[int, dict[str, str]], dict[str, Any]]) -> Callable[[int, int], bytes]:
    """A message of JSON values, one for each series."""
    return lambda now, series: (frame % ",".join(json.dumps(one_of(now, one)) for one in named(series))).encode()


MESSAGES: dict[str, Callable[[int, int], bytes]] = {
    "otlp_protobuf": lambda now, series: otlp(now, series).SerializeToString(),
    "otlp_json": otlp_json,
    "remote_write": remote_write,
    "remote_write_2": remote_write_2,
    "influx": lines,
    "prometheus": text,
    "telegraf": as_json(
        '{"metrics":[%s]}', lambda now, one: {"name": "http", "tags": one, "fields": {"n": 1}, "timestamp": now}
    ),
    "json": as_json("[%s]", lambda now, one: {"name": NAME, "labels": one, "ts": now, "value": 1}),
    "columnar": lambda now, series: json.dumps(
        {"series": [{"name": NAME, "labels": one} for one in named(series)], "ts": now, "value": [1] * series}
    ).encode(),
    "vector": as_json(
        "[%s]",
        lambda now, one: {"name": NAME, "tags": one, "kind": "absolute", "timestamp": now, "counter": {"value": 1}},
    ),
    "arrow": arrow,
}
"""By the format's name: a message of so many series at a time, ms. The two formats left out have one series each."""


class Reading:
    """A message and the ingest stage's reader, which knows none of its series."""

    def __init__(self, name: str, payload: bytes, now: int) -> None:
        settings = IngestSettings()
        self.catalog = SeriesCatalog(settings, 4)
        self._reader = MessageReader(settings, self.catalog, name)
        self._record = LogRecord("bench", 0, 0, now, None, payload)

    def read(self) -> None:
        """Read it; what is left is what the catalog keeps."""
        columns = Columns()
        letters = list(self._reader.read([self._record], np.array([self._record.timestamp]), columns))
        assert not letters
        assert len(columns.arrays().ts) == len(self.catalog)


def spent(name: str, payload: bytes, now: int) -> float:
    """CPU seconds for the message, none of its series known."""
    reading = Reading(name, payload, now)
    begun = time.process_time()
    reading.read()
    return time.process_time() - begun


def remembered(name: str, payload: bytes, now: int) -> dict[str, float]:
    """The figures of memory."""
    reading = Reading(name, payload, now)
    size = len(by_name(name).unfold(payload, "", reading.catalog.limits))
    before = resident()
    reading.read()
    peak, kept = peak_resident(), resident()
    reading.read()
    again = peak_resident()
    return {
        f"{name}_kept_bytes": round((kept - before) / len(reading.catalog)),
        f"{name}_beside_new": round((peak - kept) / size, 1),
        f"{name}_beside_known": round((again - kept) / size, 1),
    }


def resident() -> int:
    """Resident memory once everything free is given back, bytes; its peak begins anew."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return psutil.Process().memory_info().rss


def peak_resident() -> int:
    """The most resident memory since then, bytes."""
    return 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


async def unheard(work: Callable[[], None]) -> float:
    """The longest that the loop does not get its turn while a thread does the work, seconds."""
    working = asyncio.get_running_loop().run_in_executor(None, work)
    longest, before = 0.0, time.perf_counter()
    while not working.done():
        await asyncio.sleep(_TURN_S)
        now = time.perf_counter()
        longest, before = max(longest, now - before - _TURN_S), now
    await working
    return longest


def measure(name: str, most: int) -> dict[str, float]:
    """The figures of a format."""
    now, few = int(time.time() * 1000), most // 10
    payload, largest = MESSAGES[name](now, few), MESSAGES[name](now, most)
    spent(name, payload, now)  # compiles kernels
    each = median([spent(name, payload, now) for _ in range(ROUNDS)]) / few
    return {
        f"{name}_us": round(each * 1e6, 1),
        f"{name}_ms": round(spent(name, largest, now) * 1000),
        f"{name}_unheard_ms": round(asyncio.run(unheard(Reading(name, largest, now).read)) * 1000),
        **remembered(name, payload, now),
    }


def densest(name: str) -> dict[str, float]:
    """The figures of a message of 64 KiB."""
    form, message = DENSEST[name]
    now = int(time.time() * 1000)
    payload = message(now)
    reading = Reading(form, payload, now)
    reading.read()
    return {
        f"{name}_64k_series": len(reading.catalog),
        f"{name}_64k_ms": round(median([spent(form, payload, now) for _ in range(ROUNDS)]) * 1000),
    }


def main() -> None:
    """All formats, with the collector as `duri run` sets it."""
    collect_seldom()
    most = IngestSettings().max_series_per_message
    figures: dict[str, float] = {"series": most}
    for name in MESSAGES:
        figures.update(measure(name, most))
    for name in DENSEST:
        figures.update(densest(name))
    report("new_series", figures)


if __name__ == "__main__":
    main()
