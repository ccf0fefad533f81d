"""This machine as it is read: names and labels of node_exporter and process-exporter, counters that never fall."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from structlog.testing import capture_logs

from pipeline.client import Limits, MetricsPublisher
from pipeline.errors import SourceError
from pipeline.series import kind_of_name
from pipeline.settings import load_settings
from pipeline.sources.collecting import Collector, Reading
from pipeline.sources.host import read_host
from pipeline.sources.processes import ProcessGroups
from tests.installation import Installation, duri
from tests.metrics_topic import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TS = 1_767_225_600_000


@pytest.fixture(scope="module")
def machine() -> list[Reading]:
    return list(read_host())


def value(readings: list[Reading], name: str, **labels: str) -> float:
    (found,) = [one.value for one in readings if one.name == name and labels.items() <= dict(one.labels).items()]
    return found


def test_cpu_has_every_core_and_mode(machine):
    """Seconds by core and mode, which together are the time since the start of the machine, roughly."""
    times = [one for one in machine if one.name == "node_cpu_seconds_total"]
    assert {one.labels["cpu"] for one in times} == {str(number) for number in range(psutil.cpu_count())}
    assert {"user", "system", "idle"} <= {one.labels["mode"] for one in times}


def test_memory_adds_up(machine):
    """What is available is less than all; both in bytes."""
    total = value(machine, "node_memory_MemTotal_bytes")
    assert total == psutil.virtual_memory().total
    assert 0 < value(machine, "node_memory_MemAvailable_bytes") < total


def test_filesystems_are_those_of_node_exporter(monkeypatch):
    """No mounts of containers and network namespaces, whose disk is counted already; no images that are always full."""
    places = {
        "/": "ext4",
        "/data": "xfs",
        "/run/netns": "ext4",
        "/var/lib/docker/volumes/a": "ext4",
        "/snap/core/1": "squashfs",
        "/media/cd": "iso9660",
        "/runs": "ext4",
    }
    mounted = [SimpleNamespace(device="/dev/vda", mountpoint=at, fstype=kind, opts="rw") for at, kind in places.items()]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounted)
    monkeypatch.setattr(os, "statvfs", lambda _, real=os.statvfs: real("/"))
    found = {one.labels["mountpoint"] for one in read_host() if one.name == "node_filesystem_size_bytes"}
    assert found == {"/", "/data", "/runs"}


def test_kinds_follow_the_names(machine):
    """What ends in `_total` counts up, and nothing else does: as its readers expect of node_exporter's names."""
    assert {one.name for one in machine if one.kind != kind_of_name(one.name).value} == set()


def test_no_series_twice(machine):
    """Each name and labels once."""
    counted = Counter((one.name, *sorted(one.labels.items())) for one in machine)
    assert set(counted.values()) == {1}


def test_file_system_that_may_not_be_looked_at_is_left_out(monkeypatch):
    """An unreachable mount costs its own samples only."""

    def refuse(_path: str) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "statvfs", refuse)
    names = {one.name for one in read_host()}
    assert "node_filesystem_size_bytes" not in names
    assert "node_memory_MemTotal_bytes" in names


# --- processes ------------------------------------------------------------------------------------------------


@contextmanager
def busy(folder: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of this name that does nothing but take CPU time."""
    program = folder / name
    if not program.exists():
        shutil.copy(shutil.which("bash") or "/bin/bash", program)
    process = subprocess.Popen([str(program), "-c", "while :; do :; done"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def group(readings: list[Reading], name: str) -> dict[tuple[str, ...], float]:
    found = {}
    for one in readings:
        if one.labels["groupname"] == name:
            rest = [text for label, text in one.labels.items() if label != "groupname"]
            found[one.name.removeprefix("namedprocess_namegroup_"), *rest] = one.value
    return found


def test_counters_of_a_group_never_fall(tmp_path):
    """Processes of one name are one group; what a member used stays when it ends."""
    groups = ProcessGroups(top=1000)
    with ExitStack() as running:
        first, _ = (running.enter_context(busy(tmp_path, "duri-busy")) for _ in range(2))
        time.sleep(0.7)
        before = group(list(groups.read()), "duri-busy")
        first.kill()
        first.wait()
        after = group(list(groups.read()), "duri-busy")
    assert (before["num_procs",], after["num_procs",]) == (2, 1)
    assert before["memory_bytes", "resident"] > after["memory_bytes", "resident"] > 0
    assert before["cpu_seconds_total", "user"] > 0
    for mode in ("user", "system"):
        assert after["cpu_seconds_total", mode] >= before["cpu_seconds_total", mode]


@pytest.fixture
def _only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other work on this machine is not to decide which of our processes is the busiest."""
    every = psutil.process_iter

    def ours(attributes: list[str], ad_value: None) -> Iterator[psutil.Process]:
        found = every(attributes, ad_value=ad_value)
        return (one for one in found if one.info["name"].startswith("duri-"))

    monkeypatch.setattr(psutil, "process_iter", ours)


@pytest.mark.usefixtures("_only_ours")
def test_busiest_group_is_shown_and_stays(tmp_path):
    """With room for one, the group that takes most CPU is shown, and still is when another takes more."""
    groups = ProcessGroups(top=1)
    with ExitStack() as running:
        first = running.enter_context(busy(tmp_path, "duri-first"))
        large = [running.enter_context(busy(tmp_path, "duri-large")) for _ in range(3)]
        other = running.enter_context(busy(tmp_path, "duri-other"))
        for process in (*large, other):
            process.send_signal(signal.SIGSTOP)
        list(groups.read())
        time.sleep(0.7)
        shown = list(groups.read())
        assert group(shown, "duri-first")
        assert group(shown, "duri-large")
        first.send_signal(signal.SIGSTOP)
        other.send_signal(signal.SIGCONT)
        time.sleep(0.7)
        shown = list(groups.read())
        assert group(shown, "duri-other")
        assert group(shown, "duri-first")
        first.kill()
        first.wait()
        assert not group(list(groups.read()), "duri-first")


def test_number_of_groups_is_bounded():
    """However many processes come to the top one after the other, a bounded number is shown."""
    groups = ProcessGroups(top=1)
    for _ in range(3):
        readings = list(groups.read())
    assert len({one.labels["groupname"] for one in readings}) <= 4


# --- collecting -----------------------------------------------------------------------------------------------


def test_failing_later_is_waited_out():
    """A first reading that fails is an error; a later one is tried again at the next interval."""
    answers: list[Any] = [[Reading("a", {}, 1)], SourceError("gone"), [Reading("a", {}, 2)]]

    async def story() -> None:
        publisher = MetricsPublisher("127.0.0.1:9", service="shop", limits=Limits())
        stop = asyncio.Event()

        def read() -> list[Reading]:
            answer = answers.pop(0)
            if not answers:
                stop.set()
            if isinstance(answer, Exception):
                raise answer
            return answer

        await Collector(read, publisher, 0.01).run(stop)
        assert publisher.statistics.waiting == 2
        answers[:] = [SourceError("gone")]
        with pytest.raises(SourceError):
            await Collector(read, publisher, 0.01).run(asyncio.Event())

    with capture_logs() as logs:
        asyncio.run(story())
    assert [line["event"] for line in logs[:3]] == ["first reading", "nothing was read", "the collector ends"]
    assert logs[2]["readings"] == 2


def test_show_prints_what_would_be_published():
    """`--show` needs no Kafka and speaks Prometheus."""
    done = duri("collect", "host", "--show", "--top", "1")
    assert done.returncode == 0
    assert 'node_cpu_seconds_total{cpu="0",mode="idle"} ' in done.stdout
    assert "namedprocess_namegroup_num_procs{groupname=" in done.stdout


def test_collect_host_publishes(kafka, topic_prefix):
    """The command publishes complete readings under the machine's service until SIGTERM."""
    there = Installation(kafka, topic_prefix).with_topics()
    settings = load_settings(overrides={"kafka.bootstrap": kafka, "topics.prefix": topic_prefix})
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "collect", "host", "--service", "web-1", "--interval", "500ms"],
        env=there.environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        ends = time.monotonic() + 60
        while len({row.ts for row in asyncio.run(read_rows(settings))}) < 3:
            assert time.monotonic() < ends, "nothing is published"
            time.sleep(0.3)
    finally:
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0, told
    rows = asyncio.run(read_rows(settings))
    assert all('"service": "web-1"' in row.labels for row in rows)
    memory = [row.value for row in rows if row.name == "node_memory_MemTotal_bytes"]
    assert len(memory) >= 3
    assert set(memory) == {psutil.virtual_memory().total}


def test_collect_without_kafka_says_so():
    """No broker: the command ends with what to do instead of filling memory."""
    done = duri("collect", "host", "--bootstrap", "127.0.0.1:9")
    assert done.returncode == 1
    assert "duri broker" in done.stderr
