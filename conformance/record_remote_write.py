"""Record the remote-write bodies of Prometheus and vmagent: `python -m conformance.record_remote_write`.

Both scrape one page of counters, gauges, a histogram and a summary; one series disappears in the middle, so that its
end (a staleness marker) is among what is sent.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from conformance import programs
from conformance.golden import save
from tests.prometheus_server import exporter, prometheus, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler

_LONG_S = 9.0
_KEPT = (
    "content-type",
    "content-encoding",
    "x-prometheus-remote-write-version",
    "x-victoriametrics-remote-write-version",
)
_REQUESTS = 12


class Page:
    """A service's page of metrics; every scrape is one step later."""

    def __init__(self) -> None:
        self.scrapes: list[str] = []

    def __call__(self) -> str:
        step = len(self.scrapes) + 1
        gone = "" if step > 5 else 'queue_depth{queue="mails"} 4\n'
        self.scrapes.append(_PAGE.format(requests=17 * step, errors=step // 3, level=0.25 * step, gone=gone, step=step))
        return self.scrapes[-1]


_PAGE = """\
# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{{method="GET",status="200"}} {requests}
http_requests_total{{method="GET",status="500"}} {errors}
# TYPE queue_depth gauge
queue_depth{{queue="orders"}} {level}
{gone}\
# TYPE nothing_yet gauge
nothing_yet NaN
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{{le="0.1"}} {step}
http_request_duration_seconds_bucket{{le="0.5"}} {requests}
http_request_duration_seconds_bucket{{le="+Inf"}} {requests}
http_request_duration_seconds_sum {level}
http_request_duration_seconds_count {requests}
# TYPE rpc_seconds summary
rpc_seconds{{quantile="0.5"}} {level}
rpc_seconds{{quantile="0.99"}} NaN
rpc_seconds_sum {level}
rpc_seconds_count {step}
"""


class Came(NamedTuple):
    """A body, what came with it, and when (ms)."""

    headers: dict[str, str]
    body: bytes
    at_ms: int


@contextmanager
def receiver() -> Iterator[tuple[str, list[Came]]]:
    """Takes every write; gives its address and what came."""
    came: list[Came] = []

    def take(handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        headers = {name: handler.headers[name] for name in _KEPT if name in handler.headers}
        if body:
            came.append(Came(headers, body, round(time.time() * 1000)))
        return 204 if body else 200, b""

    with serve(take) as address:
        yield address, came


def record_prometheus() -> None:
    """Prometheus, its only protocol: remote write 1.0."""
    page = Page()
    version = _version([str(programs.prometheus()), "--version"], r"version (\S+)")
    with (
        tempfile.TemporaryDirectory() as folder,
        receiver() as (address, came),
        exporter(page) as target,
        prometheus(Path(folder), targets=[target], remote_write=f"http://{address}/write"),
    ):
        _wait(lambda: len(page.scrapes) >= _LONG_S, _LONG_S * 3)
    _save(
        "prometheus-remote-write-1.0", came, page,
        program="prometheus", version=version, source="Debian package prometheus",
        settings="scrape_interval 1s; remote_write with metadata_config.send_interval 2s; job shop",
    )  # fmt: skip


def record_new_prometheus() -> None:
    """Prometheus 3 by remote write 2.0; the page's classic histogram leaves it as a native one of custom bounds."""
    page = Page()
    features = "native-histograms,metadata-wal-records"
    with tempfile.TemporaryDirectory() as folder, receiver() as (address, came), exporter(page) as target:
        config = Path(folder) / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s, convert_classic_histograms_to_nhcb: true}\n"
            f"scrape_configs: [{{job_name: shop, static_configs: [{{targets: ['{target}']}}]}}]\n"
            f"remote_write: [{{url: 'http://{address}/write', send_native_histograms: true, "
            "protobuf_message: io.prometheus.write.v2.Request}]\n"
        )
        server = [
            str(programs.new_prometheus()), f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
            "--web.listen-address=127.0.0.1:0", f"--enable-feature={features}",
        ]  # fmt: skip
        _run_while_scraped(server, page)
    _save(
        "prometheus-remote-write-2.0", came, page,
        program="prometheus", version=programs.PROMETHEUS_VERSION, source="Go module prometheus",
        settings=f"scrape_interval 1s; convert_classic_histograms_to_nhcb; send_native_histograms; {features}",
    )  # fmt: skip


def _run_while_scraped(command: list[str], page: Page) -> None:
    """Run a program until the page has been scraped often enough."""
    program = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(lambda: len(page.scrapes) >= _LONG_S, _LONG_S * 3)
    finally:
        program.terminate()
        program.wait(20)


def record_vmagent(protocol: str, *options: str) -> None:
    """vmagent, with its own protocol (zstd) or Prometheus' (snappy)."""
    page = Page()
    program = programs.vmagent()
    with tempfile.TemporaryDirectory() as folder, receiver() as (address, came), exporter(page) as target:
        config = Path(folder) / "scrape.yml"
        config.write_text(
            "global: {scrape_interval: 1s}\n"
            f"scrape_configs: [{{job_name: shop, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        agent = [
            str(program), f"-promscrape.config={config}", f"-remoteWrite.url=http://{address}/write",
            f"-remoteWrite.tmpDataPath={folder}/queue", "-httpListenAddr=127.0.0.1:0",
            "-remoteWrite.flushInterval=1s", *options,
        ]  # fmt: skip
        _run_while_scraped(agent, page)
    _save(
        f"vmagent-{protocol}", came, page,
        program="vmagent", version=programs.VMAGENT_VERSION, source="Go module VictoriaMetrics",
        settings=" ".join(("scrape_interval 1s; job shop; -remoteWrite.flushInterval=1s", *options)),
    )  # fmt: skip


def _save(name: str, came: list[Came], page: Page, **about: Any) -> None:
    kept = came[:_REQUESTS]
    stamps = [one.at_ms for one in kept]
    known = {**about, "headers": kept[0].headers, "kafka_timestamps": stamps, "scraped": page.scrapes}
    save(name, [one.body for one in kept], known)


def _wait(done: Callable[[], bool], limit_s: float) -> None:
    ends = time.monotonic() + limit_s
    while not done() and time.monotonic() < ends:
        time.sleep(0.2)


def _version(command: list[str], pattern: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "unknown"


if __name__ == "__main__":
    record_prometheus()
    record_new_prometheus()
    record_vmagent("own-protocol")
    record_vmagent("remote-write", "-remoteWrite.forcePromProto")
