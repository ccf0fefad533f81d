"""Machines, as signals name them and as each other producer does."""

from __future__ import annotations

from tests.signals.spelling import CPUS, Same, by, by_state, counter, gauge

MODES = {
    "idle": 0.5,
    "iowait": 0.05,
    "user": 0.15,
    "system": 0.1,
    "nice": 0.08,
    "irq": 0.02,
    "softirq": 0.04,
    "steal": 0.06,
}
OTEL_MODES = {{"iowait": "wait", "irq": "interrupt"}.get(mode, mode): share for mode, share in MODES.items()}
CACHED = {"used": 2e9, "free": 3e9, "cached": 2e9}
PARTS = {"used": 5e9, "free": 2e9, "reserved": 1e9}
TRANSMITTED = counter("node_network_transmit_bytes_total", 25e6)
SPEED = gauge("node_network_speed_bytes", 125e6)
AVAILABLE, TOTAL = gauge("node_memory_MemAvailable_bytes", 6e9), gauge("node_memory_MemTotal_bytes", 8e9)
FREE, SIZE = gauge("node_filesystem_avail_bytes", 2e9), gauge("node_filesystem_size_bytes", 8e9)

NODES = [
    Same(
        ("node.cpu.utilisation",),
        [counter("node_cpu_seconds_total", share, {"cpu": "0", "mode": mode}) for mode, share in MODES.items()],
        [
            by("state", "system.cpu.time", OTEL_MODES),
            by("cpu.mode", "system.cpu.time", OTEL_MODES),
            by_state("state", "system.cpu.utilization", OTEL_MODES),
            [counter(f"cpu_time_{mode}", share, {"cpu": cpu}) for mode, share in MODES.items() for cpu in CPUS],
            [gauge(f"cpu_usage_{mode}", 100 * share, {"cpu": cpu}) for mode, share in MODES.items() for cpu in CPUS],
        ],
    ),
    Same(
        ("node.memory.utilisation",),
        [AVAILABLE, TOTAL],
        [
            [TOTAL, gauge("system.memory.linux.available", 6e9)],
            [TOTAL, gauge("system.linux.memory.available", 6e9)],
            [AVAILABLE, gauge("system.memory.limit", 8e9)],
            by_state("system.memory.state", "system.memory.usage", {**CACHED, "buffers": 1e9}),
            by_state("state", "system.memory.usage", {**CACHED, "buffered": 1e9, "slab_reclaimable": 5e8}),
            [TOTAL, gauge("mem_available", 6e9)],
            [AVAILABLE, gauge("mem_total", 8e9)],
        ],
    ),
    Same(
        ("node.filesystem.utilisation",),
        [FREE, SIZE],
        [
            [FREE, gauge("system.filesystem.limit", 8e9)],
            by_state("system.filesystem.state", "system.filesystem.usage", PARTS),
            by_state("state", "system.filesystem.usage", PARTS),
            [SIZE, gauge("disk_free", 2e9)],
            [FREE, gauge("disk_total", 8e9)],
        ],
    ),
    Same(
        ("node.network.utilisation",),
        [TRANSMITTED, SPEED],
        [
            [SPEED, *by("network.io.direction", "system.network.io", {"receive": 9e7, "transmit": 25e6})],
            [SPEED, *by("direction", "system.network.io", {"receive": 9e7, "transmit": 25e6})],
            [SPEED, counter("net_bytes_sent", 25e6, {"interface": "eth0"})],
            [TRANSMITTED, gauge("hw.network.bandwidth.limit", 125e6)],
            [TRANSMITTED, *by_state("interface", "net_speed", {"eth0": 1000.0, "wlan0": -1.0})],
        ],
    ),
    Same(
        ("node.disk.utilisation",),
        [counter("node_disk_io_time_seconds_total", 0.4, {"device": "sda"})],
        [
            by("device", "system.disk.io_time", {"sda": 0.4, "sdb": 0.1}),
            by("name", "diskio_io_time", {"sda": 400.0, "sdb": 100.0}),
        ],
    ),
]
