"""Generated call graphs with one fault each, as frames of every service: what `benchmarks.causes` judges.

Nothing here was measured; docs/advisor.md says how each value is made. Every service sees its own requests only: mean
and p95 latency, rate, error ratio, availability, and which of them deviate (robust z > 3 with the floors of the
notes, against its own healthy minutes).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from pipeline.advise.incidents.topology import Topology
from pipeline.records import Frame as FrameRecord
from pipeline.records import Watermark, content_id, from_ms
from pipeline.stage import LogRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

START_MS: Final = 1_767_571_200_000
FRAME_S: Final = 60.0
TIMEOUT_S: Final = 2.0
"""After so long a caller gives up on a call."""
MOST_CALLS: Final = 5.0
"""Requests of a service, at most, for each one that comes from outside."""
FIRST_JUDGED: Final = 30
"""Minutes until detection has something to compare with."""
KINDS: Final = ("slow", "errors", "slow and errors", "hangs")
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True)
class Graph:
    """Services 0 … n-1, callers before callees; `calls[i, j]`: calls of j per request of i."""

    calls: npt.NDArray[np.float64]
    parallel: npt.NDArray[np.bool_]
    """Whether a service makes its calls at once."""
    own_s: npt.NDArray[np.float64]
    """Time of its own per request, seconds."""
    own_errors: npt.NDArray[np.float64]
    forgiving: npt.NDArray[np.float64]
    """Share of its callees' failures that a service answers nevertheless."""
    outside: npt.NDArray[np.float64]
    """Requests per second from outside."""

    @property
    def size(self) -> int:
        """Services."""
        return len(self.own_s)

    def depths(self) -> npt.NDArray[np.int64]:
        """Calls between the outside and each service, at least."""
        depth = np.where(self.outside > 0, 0, self.size)
        for service in range(self.size):
            callers = np.flatnonzero(self.calls[:, service])
            if len(callers):
                depth[service] = min(depth[service], 1 + depth[callers].min())
        return depth


@dataclass(frozen=True)
class Fault:
    """What goes wrong at one service from a minute on."""

    service: int
    kind: str
    seconds: float = 0.0
    errors: float = 0.0


@dataclass
class Case:
    """One graph, one fault, all the frames."""

    seed: int
    healthy: int = 50
    faulty: int = 6
    graph: Graph = field(init=False)
    fault: Fault = field(init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self.graph = make_graph(self._rng)
        self.fault = make_fault(self._rng, self.graph)

    @property
    def truth(self) -> str:
        """Name of the service that is at fault."""
        return name_of(self.fault.service)

    def topology(self, missing: float = 0.0) -> Topology:
        """The graph as the advisor knows it: without this share of its calls."""
        rng = np.random.default_rng([self.seed, 1])
        edges = np.argwhere(self.graph.calls > 0)
        known = edges[rng.permutation(len(edges))[round(missing * len(edges)) :]]
        calls: dict[str, list[str]] = {}
        for caller, callee in known.tolist():
            calls.setdefault(name_of(caller), []).append(name_of(callee))
        return Topology(calls)

    def minutes(self) -> Iterator[list[dict[str, Any]]]:
        """The frames of each minute, as they stand in the log."""
        rng, graph = self._rng, self.graph
        noise = np.zeros(graph.size)
        seen: list[dict[str, npt.NDArray[np.float64]]] = []
        for minute in range(self.healthy + self.faulty):
            noise = 0.8 * noise + rng.normal(0.0, 0.06, graph.size)
            fault = self.fault if minute >= self.healthy else None
            values = observe(rng, graph, noise, fault, minute)
            flags = deviations(seen, values) if minute >= FIRST_JUDGED else {}
            if minute < self.healthy:
                seen.append(values)
            yield [frame_of(service, minute, values, flags, seen) for service in range(graph.size)]


def name_of(service: int) -> str:
    """Name of a service."""
    return f"service-{service:02d}"


def make_graph(rng: np.random.Generator) -> Graph:
    """5 to 50 services: one to three take requests from outside, each other one has one to three callers."""
    size = int(rng.integers(5, 51))
    fronts = int(rng.integers(1, 1 + min(3, size // 4)))
    calls = np.zeros((size, size))
    outside = np.zeros(size)
    outside[:fronts] = rng.uniform(5.0, 150.0, fronts)
    rates = outside.copy()
    for service in range(fronts, size):
        # Near callers make deep graphs, far ones shallow ones.
        near = range(max(0, service - int(rng.integers(2, 12))), service)
        count = min(len(near), int(rng.choice([1, 1, 1, 2, 2, 3])))
        for caller in rng.choice(near, count, replace=False):
            calls[caller, service] = rng.choice([0.2, 0.5, 1.0, 1.0, 1.0, 2.0, 3.0])
        rate = float(rates @ calls[:, service])
        calls[:, service] *= min(1.0, MOST_CALLS * outside.sum() / rate)
        rates[service] = rates @ calls[:, service]
    return Graph(
        calls=calls,
        parallel=rng.random(size) < 0.3,
        own_s=np.exp(rng.normal(np.log(0.008), 0.9, size)),
        own_errors=np.exp(rng.normal(np.log(2e-4), 0.8, size)),
        forgiving=np.where(rng.random(size) < 0.2, rng.uniform(0.3, 0.9, size), 0.0),
        outside=outside,
    )


def make_fault(rng: np.random.Generator, graph: Graph) -> Fault:
    """A fault at any depth: the depth first, then one of its services that has requests."""
    rates, depths = request_rates(graph), graph.depths()
    depth = rng.choice(np.unique(depths[rates > 0.5]))
    service = int(rng.choice(np.flatnonzero((depths == depth) & (rates > 0.5))))
    kind = str(rng.choice(KINDS))
    usual, _ = behave(graph, graph.own_s, graph.own_errors)
    seconds = float(usual[service] * rng.uniform(0.6, 8.0) + rng.uniform(0.01, 0.2)) if "slow" in kind else 0.0
    return Fault(
        service=service,
        kind=kind,
        seconds=float(rng.uniform(3.0, 8.0)) if kind == "hangs" else seconds,
        errors=float(rng.uniform(0.04, 0.6)) if "errors" in kind else 0.0,
    )


def request_rates(graph: Graph) -> npt.NDArray[np.float64]:
    """Requests per second of each service."""
    rates = graph.outside.copy()
    for service in range(graph.size):
        rates += rates[service] * graph.calls[service]
    return rates


def behave(
    graph: Graph, own_s: npt.NDArray[np.float64], own_errors: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean latency and share of failures of each service, callees first.

    A call that takes longer than the timeout (exponential tail) ends there, and fails.
    """
    latency, failing = own_s.copy(), own_errors.copy()
    for service in range(graph.size - 1, -1, -1):
        callees = np.flatnonzero(graph.calls[service])
        if not len(callees):
            continue
        times, slow = latency[callees], np.exp(-TIMEOUT_S / latency[callees])
        waits = graph.calls[service, callees] * times * (1.0 - slow)
        latency[service] += waits.max() if graph.parallel[service] else waits.sum()
        fail = 1.0 - (1.0 - failing[callees]) * (1.0 - slow)
        passed = (1.0 - fail * (1.0 - graph.forgiving[service])) ** graph.calls[service, callees]
        failing[service] = 1.0 - (1.0 - failing[service]) * passed.prod()
    return latency, failing


def observe(
    rng: np.random.Generator, graph: Graph, noise: npt.NDArray[np.float64], fault: Fault | None, minute: int
) -> dict[str, npt.NDArray[np.float64]]:
    """What every service measures of itself in this minute; counts are drawn, so rare requests scatter."""
    own_s, own_errors = graph.own_s * np.exp(noise), graph.own_errors.copy()
    if fault is not None:
        own_s[fault.service] += fault.seconds
        own_errors[fault.service] += fault.errors
    latency, failing = behave(graph, own_s, own_errors)
    expected = request_rates(graph) * FRAME_S * (1.0 + 0.15 * np.sin(2 * np.pi * minute / 1440.0))
    requests = np.maximum(1, rng.poisson(expected * np.exp(rng.normal(0.0, 0.02, graph.size))))
    scatter = np.exp(rng.normal(0.0, 0.8 / np.sqrt(requests)))
    failed = rng.binomial(requests, np.clip(failing, 0.0, 1.0)) / requests
    return {
        "http.latency.mean": latency * scatter,
        "http.latency.p95": latency * 2.6 * scatter * np.exp(rng.normal(0.0, 0.05, graph.size)),
        "http.rps": requests / FRAME_S,
        "http.error_ratio": failed,
        "http.availability": 1.0 - failed,
    }


def deviations(
    seen: list[dict[str, npt.NDArray[np.float64]]], values: dict[str, npt.NDArray[np.float64]]
) -> dict[str, npt.NDArray[np.bool_]]:
    """Robust z > 3 upwards, with the floors of the notes: 10 % of the median, 2 ms, half a percentage point."""
    flags = {}
    for name, least in (("http.latency.mean", 0.002), ("http.latency.p95", 0.002), ("http.error_ratio", 0.005)):
        past = np.array([moment[name] for moment in seen])
        middle = np.median(past, axis=0)
        spread = np.maximum(1.4826 * np.median(np.abs(past - middle), axis=0), np.maximum(0.1 * middle, least) / 3.0)
        flags[name] = (values[name] - middle) / spread > 3.0
    return flags


def frame_of(
    service: int,
    minute: int,
    values: dict[str, npt.NDArray[np.float64]],
    flags: dict[str, npt.NDArray[np.bool_]],
    seen: list[dict[str, npt.NDArray[np.float64]]],
) -> dict[str, Any]:
    """One service's frame of one minute."""
    start = START_MS + minute * 60_000
    name = name_of(service)
    return {
        "service": name,
        "start": from_ms(start),
        "end": from_ms(start + 60_000),
        "signals": {signal: {"value": float(column[service])} for signal, column in values.items()},
        "settings": {},
        "anomalies": [
            {
                "id": content_id(name, signal),
                "signal": signal,
                "severity": "warning",
                "direction": "up",
                "score": 0.9,
                "detectors": ["learned"],
                "opened_at": from_ms(start),
                "observed": float(values[signal][service]),
                "expected": float(np.median([moment[signal][service] for moment in seen])),
            }
            for signal, flagged in flags.items()
            if flagged[service]
        ],
        "source": {"topic": "duri.samples", "partition": 0, "offset": minute},
    }


def records_of(frames: list[dict[str, Any]], minute: int) -> list[LogRecord]:
    """A minute's frames and the watermark after them, as records of `duri.frames`."""
    headers = [("ce_type", FrameRecord.event_type().encode())]
    records = [LogRecord("duri.frames", 0, 0, 0, b"default", _encoder.encode(frame), headers) for frame in frames]
    mark = {"source_partition": 0, "until": from_ms(START_MS + (minute + 1) * 60_000)}
    headers = [("ce_type", Watermark.event_type().encode())]
    return [*records, LogRecord("duri.frames", 0, 0, 0, b"default", _encoder.encode(mark), headers)]
