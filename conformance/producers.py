"""The producers as programs on this machine: configured as docs/producers.md says, started, stopped."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import requests

from conformance import programs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_READY_S = 60.0

COLLECTOR_CONFIG = """\
receivers:
  otlp: {{protocols: {{http: {{endpoint: "{endpoint}"}}}}}}
processors:
  batch: {{timeout: 1s}}
exporters:
  kafka/proto:
    brokers: ["{bootstrap}"]
    metrics: {{topic: "{proto}", encoding: otlp_proto}}
    partition_metrics_by_resource_attributes: {by_resource}
  kafka/json:
    brokers: ["{bootstrap}"]
    metrics: {{topic: "{json}", encoding: otlp_json}}
    partition_metrics_by_resource_attributes: {by_resource}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    metrics: {{receivers: [otlp], processors: [batch], exporters: [kafka/proto, kafka/json]}}
"""

TELEGRAF_CONFIG = """\
[agent]
  interval = "{interval_s}s"
  flush_interval = "{interval_s}s"
  hostname = "shop-1"
[[inputs.cpu]]
  report_active = true
[[inputs.mem]]
[[inputs.net]]
[[inputs.statsd]]
  service_address = "{statsd}"
[[outputs.file]]
  files = ["{truth}"]
  data_format = "json"
  json_timestamp_units = "1ns"
[[outputs.file]]
  files = ["{types}"]
  data_format = "prometheus"
"""
TELEGRAF_OUTPUT = """\
[[outputs.kafka]]
  brokers = ["{bootstrap}"]
  topic = "{topic}"
  data_format = "{data_format}"
{more}"""
TELEGRAF_OPTIONS = {
    "influx": "",
    "json": "",
    "prometheus": "",
    "prometheus-timestamps": "  prometheus_export_timestamp = true\n",
    "prometheusremotewrite": "",
}
"""The serializers tried, `data_format` and a suffix, with what is set beside it."""


@contextmanager
def collector(folder: Path, bootstrap: str, topics: Mapping[str, str], *, by_resource: bool) -> Iterator[str]:
    """A Collector that takes OTLP/HTTP and publishes to the topics `proto` and `json`; gives its URL for metrics.

    `by_resource`: the message's key is a hash of the resource's attributes, so that a service keeps its partition.
    """
    endpoint = f"127.0.0.1:{free_port()}"
    config = folder / "collector.yaml"
    settings = {"endpoint": endpoint, "bootstrap": bootstrap, "by_resource": str(by_resource).lower()}
    config.write_text(COLLECTOR_CONFIG.format(**settings, **topics))
    with _running([programs.collector(), f"--config={config}"], folder / "collector.log"):
        wait_for(endpoint)
        yield f"http://{endpoint}/v1/metrics"


@contextmanager
def telegraf(
    folder: Path, bootstrap: str, topics: Mapping[str, str], interval_s: int, *, routed: bool
) -> Iterator[tuple[str, Path]]:
    """A Telegraf that publishes what it gathers in each of these formats (`TELEGRAF_OPTIONS`), each to its topic.

    `routed`: the message's key is the host.
    Gives its StatsD address (UDP) and the file where it writes the same metrics as JSON; beside that one, of the
    suffix `.prom`, is one of Prometheus text, which says their types.
    """
    statsd, truth = f"127.0.0.1:{free_port()}", folder / "telegraf.json"
    types = truth.with_suffix(".prom")
    outputs = [telegraf_output(bootstrap, topic, name, routed=routed) for name, topic in topics.items()]
    config = folder / "telegraf.conf"
    whole = TELEGRAF_CONFIG.format(interval_s=interval_s, statsd=statsd, truth=truth, types=types)
    config.write_text("".join([whole, *outputs]))
    with _running([programs.telegraf(), "--config", config], folder / "telegraf.log"):
        yield statsd, truth


def telegraf_output(bootstrap: str, topic: str, name: str, *, routed: bool) -> str:
    """The configuration of one output, by its name in `TELEGRAF_OPTIONS`."""
    more = TELEGRAF_OPTIONS[name] + routed * '  routing_tag = "host"\n'
    return TELEGRAF_OUTPUT.format(bootstrap=bootstrap, topic=topic, data_format=name.partition("-")[0], more=more)


def post_json(url: str, body: Any) -> None:
    """POST an OTLP/JSON request."""
    requests.post(url, json=body, timeout=10).raise_for_status()


def send_statsd(address: str, lines: Sequence[str]) -> None:
    """Send StatsD lines."""
    host, _, port = address.partition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto("\n".join(lines).encode(), (host, int(port)))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def _running(command: Sequence[str | Path], log: Path) -> Iterator[None]:
    with log.open("wb") as written:
        process = subprocess.Popen([str(word) for word in command], stdout=written, stderr=written)
    try:
        yield
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended by itself:\n{log.read_text()[-2000:]}")
    finally:
        process.terminate()
        process.wait(30)


def wait_for(address: str) -> None:
    """Wait until somebody answers HTTP there."""
    ends = time.monotonic() + _READY_S
    while time.monotonic() < ends:
        try:
            requests.get(f"http://{address}/", timeout=1)
        except requests.RequestException:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"nobody listens at {address} after {_READY_S:.0f} s")
