"""Containers, as signals name them and as each other producer does."""

from __future__ import annotations

from tests.signals.spelling import CPUS, Same, by, by_state, counter, gauge, gauges, with_rest

CPU_LIMIT = gauge("container_spec_cpu_quota", 400_000.0)
CPU_USE = counter("container_cpu_usage_seconds_total", 1.5)
MEMORY_USE = gauge("container_memory_usage_bytes", 4e8)
MEMORY_LIMIT = gauge("container_spec_memory_limit_bytes", 1e9)
PERIODS = counter("container_cpu_cfs_periods_total", 10.0)
THROTTLED = counter("container_cpu_cfs_throttled_periods_total", 3.0)

CONTAINERS = [
    Same(
        ("container.cpu.utilisation",),
        [CPU_LIMIT, CPU_USE],
        [
            [CPU_LIMIT, *by("cpu.mode", "container.cpu.time", {"user": 1.0, "system": 0.5})],
            *with_rest([CPU_LIMIT], gauge("container.cpu.usage", 1.5), counter("container.cpu.usage.total", 1.5e9)),
            [CPU_LIMIT, *(counter("docker_container_cpu_usage_total", 1.5e9, {"cpu": cpu}) for cpu in CPUS)],
            *with_rest(
                [CPU_USE],
                gauge("container.cpu.limit", 4.0),
                gauge("k8s.container.cpu.limit", 4.0),
                gauge("k8s.container.cpu_limit", 4.0),
            ),
            [CPU_USE, *by_state("resource", "kube_pod_container_resource_limits", {"cpu": 4.0, "memory": 1e9})],
        ],
    ),
    Same(
        ("container.cpu.throttled_ratio",),
        [THROTTLED, PERIODS],
        [
            [THROTTLED, counter("container.cpu.throttling_data.periods", 10.0)],
            [PERIODS, counter("container.cpu.throttling_data.throttled_periods", 3.0)],
            [THROTTLED, counter("docker_container_cpu_throttling_periods", 10.0, {"cpu": "cpu-total"})],
            [PERIODS, counter("docker_container_cpu_throttling_throttled_periods", 3.0, {"cpu": "cpu-total"})],
        ],
    ),
    Same(
        ("container.cpu.wait",),
        [counter("container_cpu_schedstat_runqueue_seconds_total", 0.2)],
        [[counter("container_pressure_cpu_waiting_seconds_total", 0.2)]],
    ),
    Same(
        ("container.memory.utilisation", "container.memory.bytes"),
        [MEMORY_USE, MEMORY_LIMIT],
        [
            *with_rest(
                [MEMORY_LIMIT],
                gauge("container.memory.usage", 4e8),
                gauge("container.memory.usage.total", 4e8),
                gauge("docker_container_mem_usage", 4e8),
            ),
            *with_rest(
                [MEMORY_USE],
                gauge("container.memory.usage.limit", 1e9),
                gauge("k8s.container.memory.limit", 1e9),
                gauge("k8s.container.memory_limit", 1e9),
                gauge("docker_container_mem_limit", 1e9),
            ),
            [MEMORY_USE, *by_state("resource", "kube_pod_container_resource_limits", {"cpu": 4.0, "memory": 1e9})],
        ],
    ),
    *(
        Same(
            (f"container.network.{direction}",),
            [counter(f"container_network_{direction}_bytes_total", 5e5)],
            [
                by("network.io.direction", "container.network.io", {"receive": 7e5, "transmit": 7e5, direction: 5e5}),
                [counter(f"container.network.io.usage.{short}_bytes", 5e5)],
                by("network", f"docker_container_net_{short}_bytes", {"eth0": 5e5, "total": 5e5}),
            ],
        )
        for direction, short in (("receive", "rx"), ("transmit", "tx"))
    ),
    Same(
        ("container.cpu_reservation",),
        [gauge("container_spec_cpu_shares", 512.0)],
        [
            [gauge("k8s.container.cpu.request", 0.5)],
            [gauge("k8s.container.cpu_request", 0.5)],
            by_state("resource", "kube_pod_container_resource_requests", {"cpu": 0.5, "memory": 2e8}),
        ],
    ),
    Same(
        ("container.memory_reservation",),
        [gauge("container_spec_memory_reservation_limit_bytes", 2e8)],
        [
            [gauge("k8s.container.memory.request", 2e8)],
            [gauge("k8s.container.memory_request", 2e8)],
            by_state("resource", "kube_pod_container_resource_requests", {"cpu": 0.5, "memory": 2e8}),
        ],
    ),
    gauges(
        "container.replicas",
        "container_replicas",
        3.0,
        gauge("k8s.deployment.pod.desired", 3.0),
        gauge("k8s.deployment.desired", 3.0),
        gauge("kube_deployment_spec_replicas", 3.0),
        gauge("docker_swarm_tasks_desired", 3.0),
    ),
    gauges(
        "container.max_replicas",
        "kube_horizontalpodautoscaler_spec_max_replicas",
        8.0,
        gauge("k8s.hpa.pod.max", 8.0),
        gauge("k8s.hpa.max_replicas", 8.0),
    ),
]
