"""Drive the detectors: frames by hand, and a detect stage over a generated service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.configfile import shipped_config
from pipeline.detect.configuration import DetectConfiguration, load_detection
from pipeline.detect.frame import ClosedFrame
from pipeline.detect.stage import DetectStage
from pipeline.settings import DetectSettings
from pipeline.signals.definitions import load_definitions
from tests.builders import SOURCE, START, Row, samples, series

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pipeline.stage import LogRecord, Output, Topic

FRAME_MS = 60_000
SIGNALS = list(load_definitions(shipped_config()).signals)


def configuration(**settings: Any) -> DetectConfiguration:
    """The shipped configuration with these settings."""
    return load_detection(shipped_config(), DetectSettings(**settings), partitions=1)


def frame(number: int, values: Mapping[str, float], *, silent: bool = False) -> ClosedFrame:
    """Frame of one service with these signals; `silent`: none of its series had a sample."""
    row = np.array([[values.get(name, np.nan) for name in SIGNALS]])
    return ClosedFrame(
        start=START + number * FRAME_MS,
        end=START + (number + 1) * FRAME_MS,
        values=row,
        reported=~np.isnan(row) & (not silent),
        alive=np.array([True]),
        sampled=np.array([not silent]),
    )


def detect_stage(sources: Sequence[str] = (SOURCE,), **settings: Any) -> DetectStage:
    """A detect stage with the shipped configuration."""
    return DetectStage(configuration(**settings), input_topic="duri.samples", partition=0, sources=sources)


class Service:
    """A service whose p95, requests and memory are set at will; one record each 15 s of event time."""

    BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5)

    def __init__(self, name: str = "duri_core", start: int = START) -> None:
        self.name = name
        self.now = start
        self._count = dict.fromkeys((*self.BOUNDS, np.inf), 0.0)
        self._requests = 0.0

    def rows(
        self, seconds: float, *, p95: float = 0.15, rps: float = 100.0, memory: float = 0.5
    ) -> Iterator[list[Row]]:
        """Scrapes for so long; all requests take `p95` seconds, so that every quantile lies in its bucket."""
        for _ in range(int(seconds // 15)):
            for bound in self._count:
                self._count[bound] += rps * 15 * (p95 <= bound)
            self._requests += rps * 15
            yield self._scrape(memory)
            self.now += 15_000

    def _scrape(self, memory: float) -> list[Row]:
        rows: list[Row] = [
            (
                series("http_request_duration_seconds_bucket", self.name, le=f"{bound:g}".replace("inf", "+Inf")),
                self.now,
                count,
            )
            for bound, count in self._count.items()
        ]
        rows.append((series("http_requests_total", self.name, status="200"), self.now, self._requests))
        rows.append((series("container_memory_usage_bytes", self.name), self.now, memory * (1 << 30)))
        rows.append((series("queue_depth", self.name), self.now, 10.0))
        return rows


def log(scrapes: Iterable[list[Row]], first_offset: int = 0) -> list[LogRecord]:
    """One record a scrape."""
    return [samples(first_offset + at, rows) for at, rows in enumerate(scrapes)]


def records(outputs: Iterable[Output], topic: Topic) -> list[dict[str, Any]]:
    """The JSON records on one topic; watermarks left out."""
    return [
        json.loads(output.value)
        for output in outputs
        if output.topic is topic and dict(output.headers)["ce_type"] != b"duri.watermark.v1"
    ]


def written(outputs: Iterable[Output]) -> list[tuple[Any, ...]]:
    """Outputs as comparable bytes."""
    return [(o.topic, o.value, o.timestamp, o.key, tuple(map(tuple, o.headers)), o.partition) for o in outputs]
