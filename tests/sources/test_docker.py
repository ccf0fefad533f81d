"""Containers by the runtime's API: real engines' answers (tests/golden), cases of its reference (tests/data)."""

from __future__ import annotations

import json
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from pipeline.cli.collect import socket_path
from pipeline.errors import SourceError, SourceUnavailableError
from pipeline.sources.docker import read_docker, read_limits, read_statistics
from pipeline.sources.docker_api import DockerApi
from tests.installation import duri

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RECORDED = Path(__file__).parent.parent / "data" / "docker"
GOLDEN = Path(__file__).parent.parent / "golden"


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text())


FIRST, SECOND = (listed["Id"] for listed in recorded("containers"))
ANSWERS = {
    "/containers/json": recorded("containers"),
    f"/containers/{FIRST}/stats?stream=false&one-shot=true": recorded("stats-cgroup1"),
    f"/containers/{FIRST}/json": recorded("inspect-limits"),
    f"/containers/{SECOND}/stats?stream=false&one-shot=true": recorded("stats-cgroup2"),
    f"/containers/{SECOND}/json": recorded("inspect-quota"),
}


@contextmanager
def runtime(folder: Path, answers: Mapping[str, Any]) -> Iterator[DockerApi]:
    """A server at a Unix socket that answers these questions; bytes are sent as they are, others are not found."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path)
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(200 if self.path in answers else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "socket"

        def log_message(self, *_: Any) -> None:
            pass

    path = folder / "docker.sock"
    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield DockerApi(path)
        server.shutdown()
        thread.join()


def values(readings: Any) -> dict[tuple[str, ...], float]:
    return {(one.name, *one.labels.values()): one.value for one in readings}


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_what_a_real_engine_says_is_what_the_kernel_counts(engine, tmp_path):
    """Each container of a real engine: use between the kernel's figures before and after, its limits exactly."""
    answers = json.loads((GOLDEN / f"{engine}-engine-api" / "answers.json").read_text())
    kernel = json.loads((GOLDEN / f"{engine}-engine-api" / "kernel.json").read_text())
    with runtime(tmp_path, answers) as api:
        found = values(read_docker(api))
    for service, counted in kernel.items():
        before, after = counted["before"], counted["after"]
        container = (service, f"shop-{service}-1")
        for name, file, unit in (
            ("container_cpu_usage_seconds_total", "cpuacct.usage", 1e-9),
            ("container_memory_usage_bytes", "memory.usage_in_bytes", 1.0),
            ("container_threads", "pids.current", 1.0),
        ):
            assert before[file] * unit <= found[name, *container] <= after[file] * unit + 1e-9, name
        quota = before["cpu.cfs_quota_us"] * 100_000 / before["cpu.cfs_period_us"]
        assert found["container_spec_cpu_quota", *container] == quota
        assert found["container_spec_cpu_shares", *container] == before["cpu.shares"]
        assert found["container_spec_memory_limit_bytes", *container] == before["memory.limit_in_bytes"]
        assert found["container_start_time_seconds", *container] > 1.7e9
        if engine == "docker":  # Podman 4.3 takes received for sent
            received, packets, sent, _ = before["network"]["eth0"]
            assert found["container_network_receive_bytes_total", *container, "eth0"] == received
            assert found["container_network_receive_packets_total", *container, "eth0"] == packets
            assert found["container_network_transmit_bytes_total", *container, "eth0"] == sent
    assert {one[1] for one in found} == kernel.keys()


def test_what_a_container_uses(tmp_path):
    """CPU in seconds, memory, network by interface, disks; the service is Compose's, else the container's name."""
    with runtime(tmp_path, ANSWERS) as api:
        found = values(read_docker(api))
    web, redis = ("web", "shop_web_1"), ("redis", "redis")
    assert found["container_cpu_usage_seconds_total", *web] == pytest.approx(0.100215355)
    assert found["container_cpu_user_seconds_total", *web] == pytest.approx(0.05)
    assert found["container_cpu_cfs_throttled_seconds_total", *web] == pytest.approx(1.5)
    assert found["container_memory_usage_bytes", *web] == 8634368
    assert found["container_network_receive_bytes_total", *web, "eth0"] == 5338
    assert found["container_network_transmit_packets_total", *web, "eth5"] == 9
    assert found["container_fs_reads_bytes_total", *web] == 5120
    assert found["container_fs_writes_bytes_total", *web] == 8192
    assert found["container_threads", *redis] == 5
    assert found["container_cpu_usage_seconds_total", *redis] == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("statistics", "working_set", "rss", "cache"),
    [
        ("stats-cgroup1", 8634368 - 2097152, 6537216, 1048576),
        ("stats-cgroup2", 52428800 - 12582912, 33554432, 16777216),
    ],
)
def test_memory_of_both_versions_of_control_groups(statistics, working_set, rss, cache):
    """Working set, resident set and page cache, whatever the kernel calls them."""
    found = values(read_statistics(recorded(statistics)))
    names = ("container_memory_working_set_bytes", "container_memory_rss", "container_memory_cache")
    assert [found[name,] for name in names] == [working_set, rss, cache]


@pytest.mark.parametrize(
    ("host", "quota"),
    [
        ({"NanoCpus": 1_500_000_000}, 150_000),
        ({"CpuQuota": 25_000, "CpuPeriod": 50_000}, 50_000),
        ({"CpuQuota": 200_000, "CpuPeriod": 0}, 200_000),
        ({"CpuQuota": -1}, None),
        ({}, None),
    ],
)
def test_cpu_limit_is_one_number(host, quota):
    """However the limit was given, it is CPU time a period of 100 ms; no limit is no sample, not zero."""
    assert values(read_limits({"HostConfig": host})).get(("container_spec_cpu_quota",)) == quota


def test_limits_are_gauges():
    """Memory limit, shares and start time of a container; kinds that do not count up."""
    readings = list(read_limits(recorded("inspect-limits")))
    assert {one.kind for one in readings} == {"gauge"}
    found = values(readings)
    assert found["container_spec_memory_limit_bytes",] == 67108864
    assert found["container_start_time_seconds",] == pytest.approx(1767902251.5479)


def test_container_that_ends_meanwhile_is_left_out(tmp_path):
    """Listed a moment ago and no more: the others are read."""
    answers = {question: answer for question, answer in ANSWERS.items() if FIRST not in question}
    with runtime(tmp_path, answers) as api:
        assert {one.labels["service"] for one in read_docker(api)} == {"redis"}


def test_fields_that_a_runtime_leaves_out_are_left_out():
    """Podman and old kernels tell less: that is no error."""
    assert list(read_statistics({"memory_stats": {}, "cpu_stats": None})) == []


def test_socket_that_is_no_runtimes(tmp_path):
    """Named, with what it said."""
    with runtime(tmp_path, {"/containers/json": b"hello"}) as api, pytest.raises(SourceError, match="no JSON"):
        list(read_docker(api))


def test_without_a_runtime_the_command_says_so(tmp_path):
    """The socket, and what to do; exit status 1."""
    done = duri("collect", "docker", "--show", "--socket", tmp_path / "none.sock")
    assert done.returncode == 1
    assert f"no container runtime answers at {tmp_path}/none.sock" in done.stderr
    assert "--socket" in done.stderr
    with pytest.raises(SourceUnavailableError):
        DockerApi(tmp_path / "none.sock").get("/containers/json")


def test_socket_is_a_path_or_a_unix_address():
    """As DOCKER_HOST has it; other kinds of address are refused."""
    assert socket_path("unix:///run/docker.sock") == socket_path("/run/docker.sock") == Path("/run/docker.sock")
    with pytest.raises(typer.BadParameter, match="only Unix sockets"):
        socket_path("tcp://127.0.0.1:2375")
