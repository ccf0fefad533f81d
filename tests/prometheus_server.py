"""The real Prometheus server on this machine: with a history, scraping a page, writing to a receiver."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_START_S = 30.0


def require_prometheus() -> None:
    """Skip loudly where there is no Prometheus; with CI=true that is a failure."""
    if shutil.which("prometheus") and shutil.which("promtool"):
        return
    message = "NO PROMETHEUS, SO THE BRIDGE AND THE BACKFILL ARE NOT TESTED: apt-get install prometheus"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def serve(answer: Callable[[BaseHTTPRequestHandler, bytes], tuple[int, bytes]]) -> Iterator[str]:
    """An HTTP server that answers every request (handler, body) with a status and a body; gives host:port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, text = answer(self, body)
            self.send_response(status)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST  # noqa: N815  the library's name

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def exporter(page: Callable[[], str]) -> Iterator[str]:
    """A page of metrics to scrape."""
    with serve(lambda _handler, _body: (200, page().encode())) as address:
        yield address


def write_history(openmetrics: str, data: Path) -> None:
    """Make blocks of a server's data folder from OpenMetrics text, each sample with its time."""
    text = data.parent / "history.om"
    text.write_text(openmetrics)
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(data)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip


class PrometheusServer:
    """A server over a data folder; it may be stopped, killed and started again at the same address."""

    def __init__(self, folder: Path, config: Mapping[str, Any], features: Sequence[str] = ()) -> None:
        self.folder = folder
        self.address = f"127.0.0.1:{_free_port()}"
        self.url = f"http://{self.address}"
        self._features = features
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "prometheus.yml").write_text(yaml.safe_dump(dict(config)))

    def start(self) -> None:
        """Start and wait until it answers."""
        with (self.folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus", f"--config.file={self.folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self.folder / 'data'}", f"--web.listen-address={self.address}",
                    "--storage.tsdb.retention.time=10y", "--storage.tsdb.allow-overlapping-blocks",
                    f"--enable-feature={','.join(self._features)}",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        ends = time.monotonic() + _START_S
        while not self._ready():
            assert self._process.poll() is None, (self.folder / "prometheus.log").read_text()[-2000:]
            assert time.monotonic() < ends, "Prometheus does not become ready"
            time.sleep(0.1)

    def _ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/-/ready", timeout=2).ok
        except requests.RequestException:
            return False

    def stop(self) -> None:
        """Stop as an administrator would."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None


@contextmanager
def prometheus(
    folder: Path,
    *,
    targets: Sequence[str] = (),
    scrape_s: int = 1,
    job: str = "shop",
    remote_write: str | None = None,
    features: Sequence[str] = (),
) -> Iterator[PrometheusServer]:
    """A server over `folder/data` that scrapes these targets and writes to this URL."""
    config: dict[str, Any] = {"global": {"scrape_interval": f"{scrape_s}s"}}
    if targets:
        config["scrape_configs"] = [{"job_name": job, "static_configs": [{"targets": list(targets)}]}]
    if remote_write:
        config["remote_write"] = [{"url": remote_write, "metadata_config": {"send_interval": "2s"}}]
    server = PrometheusServer(folder, config, features)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
