"""A real Prometheus that scrapes a real node_exporter is backfilled and bridged; all of it arrives."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import requests

from conformance import producers
from conformance.installation import SECONDS
from conformance.truth import Sample, labels_of
from pipeline.sources.host import read_host
from tests.prometheus_server import prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator

_SELECTOR = '{job="shop"}'


@contextmanager
def node_exporter() -> Iterator[str]:
    """The node_exporter of the system; gives its address."""
    program = shutil.which("prometheus-node-exporter")
    assert program, "there is no node_exporter; on Debian and Ubuntu: apt-get install prometheus-node-exporter"
    address = f"127.0.0.1:{producers.free_port()}"
    process = subprocess.Popen([program, f"--web.listen-address={address}"], stderr=subprocess.DEVNULL)
    try:
        producers.wait_for(address)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def held(url: str, until_ms: int) -> set[Sample]:
    """Everything that the server holds up to then, asked without our code."""
    answer = requests.get(
        f"{url}/api/v1/query", params={"query": f"{_SELECTOR}[1h]", "time": until_ms / 1000}, timeout=30
    )
    return {sample for entry in answer.json()["data"]["result"] for sample in _samples(entry)}


def _samples(entry: dict[str, Any]) -> Iterator[Sample]:
    labels = dict(entry["metric"])
    name = labels.pop("__name__")
    for ts, value in entry["values"]:
        if float(value) - float(value) == 0:
            yield Sample(name, labels_of(labels, "shop"), round(ts * 1000), float(value))


def test_backfill_and_bridge(there, tmp_path):
    """First its past, then what comes: every finite sample that it holds, once, with the kind that it knows."""
    with node_exporter() as target, prometheus(tmp_path, targets=[target]) as server:
        time.sleep(SECONDS / 2)
        with there.ingesting() as installed:
            options = ["--url", server.url, "--match", _SELECTOR, "--delay", "2s"]
            filled = installed.command("backfill", "prometheus", *options, "--from", "1h")
            assert filled.returncode == 0, filled.stderr
            bridge = subprocess.Popen(
                [sys.executable, "-m", "pipeline", "bridge", "prometheus", *options, "--step", "1s"],
                env=installed.environment, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            time.sleep(SECONDS / 2)
            until_ms = round(time.time() * 1000)
            time.sleep(15)
            bridge.send_signal(signal.SIGTERM)
            _, told = bridge.communicate(timeout=60)
            assert bridge.returncode == 0, told
            arrived = there.arrived()["metrics"]
        types = requests.get(f"{server.url}/api/v1/metadata", timeout=10).json()["data"]
        truth = held(server.url, until_ms)
    assert len(truth) > 1000
    found = [one for one in arrived if one.ts <= until_ms]
    assert len(found) == len(set(found))
    assert {one._replace(kind="") for one in found} == truth
    for one in found:
        known = types.get(one.name, [{}])[0].get("type")
        if known in ("counter", "gauge"):
            assert one.kind == known, one.name


def test_host_collector_speaks_as_node_exporter():
    """Each series of `duri collect host` is one that a real node_exporter has too, with about the same value."""
    with node_exporter() as address:
        page = requests.get(f"http://{address}/metrics", timeout=30).text
    theirs = {}
    for line in page.splitlines():
        if not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            theirs[_series(series)] = float(value)
    ours = {(one.name, frozenset(one.labels.items())): float(one.value) for one in read_host()}
    assert ours.keys() <= theirs.keys()
    for series, value in ours.items():
        if series[0].endswith("_total") or series[0].startswith(("node_memory_MemTotal", "node_filesystem_size")):
            other = theirs[series]
            assert abs(value - other) <= 0.05 * max(value, other) + 50, series


def _series(text: str) -> tuple[str, frozenset[tuple[str, str]]]:
    name, _, labels = text.partition("{")
    pairs = (pair.partition("=") for pair in labels.rstrip("}").split('",') if pair)
    return name, frozenset((key, value.strip('"')) for key, _, value in pairs)
