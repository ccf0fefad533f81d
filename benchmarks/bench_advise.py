"""The advise stage over 10,000 services, a frame each a minute: share of a core that one worker needs.

Frames carry all signals and settings that a full set of exporters gives (49 and 15). The services form 250 call
graphs; one in 100 has an open anomaly, and 20 incidents are open at a time. A thousand services share one PostgreSQL.
Reading, judging and writing count; Kafka does not.
"""

from __future__ import annotations

import time

import msgspec
import numpy as np

from benchmarks.harness import median, report, resident_mb
from pipeline.advise.incidents.topology import Topology
from pipeline.advise.rules.catalogue import load_catalogue
from pipeline.advise.stage import AdviseStage
from pipeline.configfile import shipped_config
from pipeline.records import Frame, Watermark, content_id, from_ms
from pipeline.settings import AdviseSettings
from pipeline.signals.definitions import load_definitions
from pipeline.stage import LogRecord

SERVICES = 10_000
GRAPH = 40
MINUTES = 75
MEASURED = 10
"""Minutes at the end, with a full history of an hour, that are measured."""
INCIDENTS = 20
SHARING = 1_000
"""Services that share one PostgreSQL."""
ASKED = 0.30
START_MS = 1_767_571_200_000
_encoder = msgspec.json.Encoder()


def main() -> None:
    """Run and print one line."""
    definitions = load_definitions(shipped_config())
    catalogue = load_catalogue(shipped_config() / "catalogue", definitions)
    rng = np.random.default_rng(7)
    names = [f"service-{number:05d}" for number in range(SERVICES)]
    graph = {names[n]: [names[n + 1]] for n in range(SERVICES - 1) if (n + 1) % GRAPH}
    stage = AdviseStage(
        AdviseSettings(), catalogue, Topology(graph), frame_s=60.0, input_topic="duri.frames", partition=0
    )
    base = rng.uniform(0.1, 0.5, (SERVICES, len(definitions.signals)))
    settings = dict.fromkeys(definitions.settings, 10.0)
    costs = []
    outputs = 0
    for minute in range(MINUTES):
        records = _minute(rng, minute, names, list(definitions.signals), base, settings)
        begun = time.process_time()
        outputs += len(stage.step(records))
        costs.append(time.process_time() - begun)
    spent = median(costs[-MEASURED:])
    report(
        "advise",
        {
            "services": SERVICES,
            "sharing_one_server": SHARING,
            "cpu_s_a_minute": round(spent, 2),
            "worst_minute_cpu_s": round(max(costs), 2),
            "share_of_a_core": round(spent / 60.0, 4),
            "asked": ASKED,
            "incidents_open": stage.statistics()["incidents_open"],
            "recommendations_open": stage.statistics()["recommendations_open"],
            "records_out": outputs,
            "resident_mb": round(resident_mb()),
        },
    )


def _minute(
    rng: np.random.Generator,
    minute: int,
    names: list[str],
    signals: list[str],
    base: np.ndarray,
    settings: dict[str, float],
) -> list[LogRecord]:
    start = START_MS + minute * 60_000
    values = (base * rng.normal(1.0, 0.03, base.shape)).round(6)
    sick = set(range(0, SERVICES, SERVICES // INCIDENTS)) if minute >= MINUTES - 30 else set()
    rate, latency = signals.index("http.rps"), signals.index("http.latency.p95")
    values[:, rate] = 100.0
    server = [number for number, name in enumerate(signals) if name.startswith("pg.")]
    values[:SHARING, server] = values[0, server]
    headers = [("ce_type", Frame.event_type().encode())]
    records = []
    for number, (name, row) in enumerate(zip(names, values.tolist(), strict=True)):
        anomalies = []
        if number in sick:
            row[latency] *= 4.0
            anomalies = [
                _anomaly(name, "http.latency.p95", "warning", START_MS + (MINUTES - 30) * 60_000, row[latency])
            ]
        elif number % 100 == 1:
            anomalies = [_anomaly(name, "go_goroutines", "info", START_MS, 9.0)]
        frame = {
            "service": name,
            "start": from_ms(start),
            "end": from_ms(start + 60_000),
            "signals": {
                signal: {"value": value, "expected": value, "lower": 0.0, "upper": 1.0, "score": 0.0}
                for signal, value in zip(signals, row, strict=True)
            },
            "settings": settings,
            "anomalies": anomalies,
            "calls": [],
            "source": {"topic": "duri.samples", "partition": 0, "offset": minute},
        }
        records.append(LogRecord("duri.frames", 0, 0, 0, b"default", _encoder.encode(frame), headers))
    mark = _encoder.encode({"source_partition": 0, "until": from_ms(start + 60_000)})
    headers = [("ce_type", Watermark.event_type().encode())]
    return [*records, LogRecord("duri.frames", 0, 0, 0, b"default", mark, headers)]


def _anomaly(service: str, signal: str, severity: str, opened: int, observed: float) -> dict[str, object]:
    return {
        "id": content_id(service, signal),
        "signal": signal,
        "severity": severity,
        "direction": "up",
        "score": 0.9,
        "detectors": ["learned"],
        "opened_at": from_ms(opened),
        "observed": observed,
        "expected": 0.2,
    }


if __name__ == "__main__":
    main()
