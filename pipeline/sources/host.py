"""CPU, memory, disks and network of this machine, named as Prometheus' node_exporter names them.

What a platform does not tell (I/O wait elsewhere than on Linux, file systems that may not be looked at) is left out.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import psutil

from pipeline.sources.collecting import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_DISKS = re.compile(r"/(dev|proc|run|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)")
"""Mount points that node_exporter leaves out: containers and network namespaces mount what is counted elsewhere."""
_ALWAYS_FULL = ("iso9660", "squashfs")
_CPU_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_MEMORY = {
    "total": "MemTotal", "free": "MemFree", "available": "MemAvailable", "buffers": "Buffers", "active": "Active",
    "inactive": "Inactive", "shared": "Shmem", "slab": "Slab",
}  # fmt: skip
"""psutil's name of a value → the kernel's. Not `cached`: psutil adds reclaimable slab to it."""
_DISK = {
    "read_count": ("node_disk_reads_completed_total", 1.0),
    "write_count": ("node_disk_writes_completed_total", 1.0),
    "read_merged_count": ("node_disk_reads_merged_total", 1.0),
    "write_merged_count": ("node_disk_writes_merged_total", 1.0),
    "read_bytes": ("node_disk_read_bytes_total", 1.0),
    "write_bytes": ("node_disk_written_bytes_total", 1.0),
    "read_time": ("node_disk_read_time_seconds_total", 0.001),
    "write_time": ("node_disk_write_time_seconds_total", 0.001),
    "busy_time": ("node_disk_io_time_seconds_total", 0.001),
}
"""psutil's name of a value → node_exporter's, and the factor to its unit."""
_NETWORK = {
    "bytes_recv": "receive_bytes", "bytes_sent": "transmit_bytes",
    "packets_recv": "receive_packets", "packets_sent": "transmit_packets",
    "errin": "receive_errs", "errout": "transmit_errs", "dropin": "receive_drop", "dropout": "transmit_drop",
}  # fmt: skip
# node_exporter's own default: no memory disks, no loops, no partitions of a disk.
_IGNORED_DISKS = re.compile(r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$")


def read_host() -> Iterator[Reading]:
    """The machine as it is now."""
    yield from _cpu()
    yield from _memory()
    yield from _filesystems()
    yield from _disks()
    yield from _network()


def _cpu() -> Iterator[Reading]:
    for number, times in enumerate(psutil.cpu_times(percpu=True)):
        for mode in _CPU_MODES:
            if hasattr(times, mode):
                labels = {"cpu": str(number), "mode": mode}
                yield Reading("node_cpu_seconds_total", labels, getattr(times, mode), "counter")
    for name, load in zip(("node_load1", "node_load5", "node_load15"), psutil.getloadavg(), strict=True):
        yield Reading(name, {}, load)
    statistics = psutil.cpu_stats()
    yield Reading("node_context_switches_total", {}, statistics.ctx_switches, "counter")
    yield Reading("node_intr_total", {}, statistics.interrupts, "counter")
    yield Reading("node_boot_time_seconds", {}, psutil.boot_time())


def _memory() -> Iterator[Reading]:
    memory = psutil.virtual_memory()
    for field, name in _MEMORY.items():
        if hasattr(memory, field):
            yield Reading(f"node_memory_{name}_bytes", {}, getattr(memory, field))
    swap = psutil.swap_memory()
    yield Reading("node_memory_SwapTotal_bytes", {}, swap.total)
    yield Reading("node_memory_SwapFree_bytes", {}, swap.free)


def _filesystems() -> Iterator[Reading]:
    for partition in psutil.disk_partitions(all=False):
        if partition.fstype in _ALWAYS_FULL or _NO_DISKS.match(partition.mountpoint):
            continue
        try:
            status = os.statvfs(partition.mountpoint)
        except OSError:
            continue
        labels = {"device": partition.device, "fstype": partition.fstype, "mountpoint": partition.mountpoint}
        block = status.f_frsize
        yield Reading("node_filesystem_size_bytes", labels, status.f_blocks * block)
        yield Reading("node_filesystem_free_bytes", labels, status.f_bfree * block)
        yield Reading("node_filesystem_avail_bytes", labels, status.f_bavail * block)
        yield Reading("node_filesystem_files", labels, status.f_files)
        yield Reading("node_filesystem_files_free", labels, status.f_ffree)
        yield Reading("node_filesystem_readonly", labels, "ro" in partition.opts.split(","))


def _disks() -> Iterator[Reading]:
    for device, counters in (psutil.disk_io_counters(perdisk=True) or {}).items():
        if _IGNORED_DISKS.match(device):
            continue
        for field, (name, factor) in _DISK.items():
            if hasattr(counters, field):
                yield Reading(name, {"device": device}, getattr(counters, field) * factor, "counter")


def _network() -> Iterator[Reading]:
    counters = psutil.net_io_counters(pernic=True)
    for device, status in psutil.net_if_stats().items():
        if "loopback" in status.flags:  # as node_exporter: what never leaves the machine
            continue
        for field, name in _NETWORK.items():
            if device in counters:
                value = getattr(counters[device], field)
                yield Reading(f"node_network_{name}_total", {"device": device}, value, "counter")
        yield Reading("node_network_up", {"device": device}, status.isup)
