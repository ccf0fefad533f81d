"""The containers of a runtime, named as cAdvisor names them; limits are gauges.

A container's service is what Compose or Kubernetes calls it, else its name. Its id and image are no labels: a new
version of a service goes on with the series of the old one.

Source of the fields: Docker Engine API 1.41 and later, `GET /containers/{id}/stats`; of the memory figures, cAdvisor's
`container/libcontainer/handler.go` (working set: usage less inactive file pages).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipeline.sources.collecting import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.sources.docker_api import DockerApi

_SERVICE_LABELS = ("com.docker.compose.service", "com.docker.swarm.service.name", "io.kubernetes.container.name")
_PERIOD_US = 100_000
"""The period to which CPU quotas are converted: two cores are always 200,000."""
_NS = 1e-9
_CPU = {"total_usage": "usage", "usage_in_usermode": "user", "usage_in_kernelmode": "system"}
_THROTTLING = {
    "periods": ("container_cpu_cfs_periods_total", 1.0),
    "throttled_periods": ("container_cpu_cfs_throttled_periods_total", 1.0),
    "throttled_time": ("container_cpu_cfs_throttled_seconds_total", _NS),
}
_NETWORK = {
    f"{short}_{field}": f"container_network_{long}_{field}_total"
    for short, long in (("rx", "receive"), ("tx", "transmit"))
    for field in ("bytes", "packets", "errors", "dropped")
}


def read_docker(api: DockerApi) -> Iterator[Reading]:
    """All running containers as they are now. Raises SourceError as the API does."""
    for listed in api.get("/containers/json") or ():
        identity = listed["Id"]
        statistics = api.get(f"/containers/{identity}/stats?stream=false&one-shot=true")
        inspected = api.get(f"/containers/{identity}/json")
        if statistics and inspected:  # it may have ended in between
            labels = _labels(listed)
            for reading in (*read_statistics(statistics), *read_limits(inspected)):
                yield reading._replace(labels={**labels, **reading.labels})


def _labels(listed: Mapping[str, Any]) -> dict[str, str]:
    name = (listed.get("Names") or [listed["Id"][:12]])[0].lstrip("/")
    given = listed.get("Labels") or {}
    service = next((given[label] for label in _SERVICE_LABELS if given.get(label)), name)
    return {"service": service, "name": name}


def read_statistics(statistics: Mapping[str, Any]) -> Iterator[Reading]:
    """What a container uses, from the answer to `…/stats`."""
    cpu = statistics.get("cpu_stats") or {}
    for field, name in _CPU.items():
        used = (cpu.get("cpu_usage") or {}).get(field)
        if used is not None:
            yield Reading(f"container_cpu_{name}_seconds_total", {}, used * _NS, "counter")
    for field, (name, factor) in _THROTTLING.items():
        value = (cpu.get("throttling_data") or {}).get(field)
        if value is not None:
            yield Reading(name, {}, value * factor, "counter")
    yield from _memory(statistics.get("memory_stats") or {})
    for interface, counters in (statistics.get("networks") or {}).items():
        for field, name in _NETWORK.items():
            if field in counters:
                yield Reading(name, {"interface": interface}, counters[field], "counter")
    yield from _disks(statistics.get("blkio_stats") or {})
    threads = (statistics.get("pids_stats") or {}).get("current")
    if threads is not None:
        yield Reading("container_threads", {}, threads)


def _memory(memory: Mapping[str, Any]) -> Iterator[Reading]:
    usage = memory.get("usage")
    if usage is None:
        return
    details = memory.get("stats") or {}
    yield Reading("container_memory_usage_bytes", {}, usage)
    # Control groups of version 1 say total_inactive_file, rss and cache; version 2 inactive_file, anon and file.
    inactive = details.get("total_inactive_file", details.get("inactive_file", 0))
    yield Reading("container_memory_working_set_bytes", {}, max(usage - inactive, 0))
    for name, fields in (("rss", ("rss", "anon")), ("cache", ("cache", "file"))):
        value = next((details[field] for field in fields if field in details), None)
        if value is not None:
            yield Reading(f"container_memory_{name}", {}, value)
    if "failcnt" in memory:
        yield Reading("container_memory_failcnt", {}, memory["failcnt"], "counter")


def _disks(blocks: Mapping[str, Any]) -> Iterator[Reading]:
    totals = {"read": 0, "write": 0}
    entries = blocks.get("io_service_bytes_recursive") or ()
    for entry in entries:
        operation = entry["op"].lower()
        if operation in totals:
            totals[operation] += entry["value"]
    if entries:
        yield Reading("container_fs_reads_bytes_total", {}, totals["read"], "counter")
        yield Reading("container_fs_writes_bytes_total", {}, totals["write"], "counter")


def read_limits(inspected: Mapping[str, Any]) -> Iterator[Reading]:
    """What a container may use, from the answer to `…/json`; a limit that is not set is left out."""
    host = inspected.get("HostConfig") or {}
    quota = _cpu_quota(host)
    if quota:
        yield Reading("container_spec_cpu_quota", {}, quota)
        yield Reading("container_spec_cpu_period", {}, _PERIOD_US)
    if host.get("CpuShares"):
        yield Reading("container_spec_cpu_shares", {}, host["CpuShares"])
    if host.get("Memory"):
        yield Reading("container_spec_memory_limit_bytes", {}, host["Memory"])
    started = (inspected.get("State") or {}).get("StartedAt")
    if started:
        yield Reading("container_start_time_seconds", {}, datetime.fromisoformat(started).timestamp())


def _cpu_quota(host: Mapping[str, Any]) -> float:
    """CPU time in µs a period of 100 ms; 0 where there is no limit."""
    if host.get("NanoCpus"):
        return float(host["NanoCpus"] * _NS * _PERIOD_US)
    if host.get("CpuQuota", 0) > 0:
        return float(host["CpuQuota"] * _PERIOD_US / (host.get("CpuPeriod") or _PERIOD_US))
    return 0.0
