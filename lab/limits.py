"""CPU and memory limits of one process by cgroup v1, and what cAdvisor would say of it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpu", "cpuacct", "memory")
_PERIOD_US = 100_000
_SHARES = 8192


def why_not() -> str | None:
    """Why there are no limits here; None where there are."""
    for controller in _CONTROLLERS:
        if not os.access(_ROOT / controller, os.W_OK) or not (_ROOT / controller / "cgroup.procs").exists():
            return f"no writable cgroup v1 controller {controller} at {_ROOT / controller}; run as root where there is"
    return None


class Scope:
    """The group that holds all of the lab: what its node is. Others' load on the machine is none of it.

    Its weight is high, so that others disturb the lab little; the lab uses well below a core.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._began = time.monotonic()
        for controller in _CONTROLLERS:
            (_ROOT / controller / name).mkdir()
        (_ROOT / "cpu" / name / "cpu.shares").write_text(str(_SHARES), encoding="ascii")

    def take(self, pid: int) -> None:
        """Take in a process and those that it started."""
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            # PostgreSQL's children come and go: one that has ended meanwhile needs no group.
            with suppress(ProcessLookupError):
                for controller in _CONTROLLERS:
                    (_ROOT / controller / self.name / "cgroup.procs").write_text(str(process.pid), encoding="ascii")

    def slow_disk(self, pid: int, folder: Path, writes_per_s: int) -> None:
        """Let a process write to the disk below `folder` so often at most; 0 lifts it. Raises OSError."""
        device = folder.stat().st_dev
        group = _ROOT / "blkio" / self.name
        group.mkdir(exist_ok=True)
        rule = f"{os.major(device)}:{os.minor(device)} {writes_per_s}"
        (group / "blkio.throttle.write_iops_device").write_text(rule, encoding="ascii")
        (group / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def metrics(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """(name, labels, value) of the CPU as node_exporter names them: idle is what the lab did not use."""
        usage = int((_ROOT / "cpuacct" / self.name / "cpuacct.usage").read_text(encoding="ascii")) / 1e9
        could = (time.monotonic() - self._began) * (os.cpu_count() or 1)
        yield "node_cpu_seconds_total", {"mode": "user"}, usage
        yield "node_cpu_seconds_total", {"mode": "idle"}, max(0.0, could - usage)

    def remove(self) -> None:
        """Take the group away, once its processes have ended."""
        for controller in (*_CONTROLLERS, "blkio"):
            group = _ROOT / controller / self.name
            if group.exists():
                group.rmdir()


class Limits:
    """A group of its own for a process. `cores` and `memory` (bytes) hold from now on."""

    def __init__(self, name: str, pid: int, cores: float, memory: int) -> None:
        self._name = name
        self.cores, self.memory = cores, memory
        for controller in _CONTROLLERS:
            (_ROOT / controller / name).mkdir(exist_ok=True)
            self._write(controller, "cgroup.procs", pid)
        self._write("cpu", "cpu.cfs_period_us", _PERIOD_US)
        self.set_cores(cores)
        self.set_memory(memory)

    def set_cores(self, cores: float) -> None:
        """Limit to so many cores."""
        self.cores = cores
        self._write("cpu", "cpu.cfs_quota_us", round(cores * _PERIOD_US))

    def set_memory(self, memory: int) -> None:
        """Limit to so many bytes."""
        self.memory = memory
        self._write("memory", "memory.limit_in_bytes", memory)

    def memory_used(self) -> int:
        """Bytes that the process and its part of the page cache take."""
        return int(self._read("memory", "memory.usage_in_bytes"))

    def cpu_used(self) -> float:
        """Seconds of CPU that the processes have had."""
        return int(self._read("cpuacct", "cpuacct.usage")) / 1e9

    def cpu_waited(self) -> float:
        """Seconds that their threads were ready to run and had no CPU."""
        waited = 0
        for thread in self._read("cpu", "tasks").split():
            with suppress(OSError):  # it has ended meanwhile
                waited += int(Path(f"/proc/{thread}/schedstat").read_text(encoding="ascii").split()[1])
        return waited / 1e9

    def metrics(self) -> Iterator[tuple[str, float]]:
        """(name, value) as cAdvisor names them."""
        stat = dict(line.split() for line in self._read("cpu", "cpu.stat").splitlines())
        yield "container_cpu_usage_seconds_total", self.cpu_used()
        yield "container_cpu_schedstat_runqueue_seconds_total", self.cpu_waited()
        yield "container_cpu_cfs_periods_total", float(stat["nr_periods"])
        yield "container_cpu_cfs_throttled_periods_total", float(stat["nr_throttled"])
        yield "container_spec_cpu_quota", self.cores * _PERIOD_US
        yield "container_memory_usage_bytes", float(self.memory_used())
        yield "container_spec_memory_limit_bytes", float(self.memory)

    def remove(self) -> None:
        """Take the group away, once its process has ended."""
        for controller in _CONTROLLERS:
            (_ROOT / controller / self._name).rmdir()

    def _write(self, controller: str, file: str, value: int) -> None:
        (_ROOT / controller / self._name / file).write_text(str(value), encoding="ascii")

    def _read(self, controller: str, file: str) -> str:
        return (_ROOT / controller / self._name / file).read_text(encoding="ascii")
