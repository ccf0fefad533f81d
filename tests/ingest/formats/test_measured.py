"""What real Telegraf plug-ins and exporters measured of a host, PostgreSQL, Redis and a container.

The names that the alias table has for them are those that they send, and signals have the values.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conformance.checks import samples_of
from pipeline.configfile import shipped_config
from pipeline.ingest.stage import IngestStage
from pipeline.settings import IngestSettings
from pipeline.signals.definitions import load_definitions
from pipeline.stage import Topic
from tests.builders import as_input, message
from tests.detect.drive import detect_stage, records
from tests.ingest.test_ingest_stage import dead

if TYPE_CHECKING:
    from pipeline.stage import Output

GOLDEN = Path(__file__).parents[2] / "golden"
MEASURED = ("cpu_", "mem_", "disk_", "diskio_", "net_", "docker_container_", "postgresql_")
OF_REDIS = {
    *("redis_used_memory", "redis_maxmemory", "redis_evicted_keys", "redis_clients", "redis_maxclients"),
    *("redis_rejected_connections", "redis_aof_delayed_fsync", "redis_errorstat_total"),
}
OF_EXPORTERS = {
    *("redis_config_value", "redis_config_key_value", "redis_instance_info", "pg_stat_database_numbackends"),
    *("redis_keyspace_hits_total", "redis_keyspace_misses_total"),
}
CONTAINER_BYTES, REDIS_BYTES = 256 << 20, 64 << 20


def payloads_of(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((GOLDEN / name).glob("*.bin"))]


def ingest(name: str) -> list[Output]:
    """All of a folder, and two minutes later a line that closes the frame."""
    payloads = payloads_of(name)
    stamps = json.loads((GOLDEN / name / "about.json").read_text())["kafka_timestamps"]
    later = stamps[-1] + 120_000
    log = [
        message(at, payload, key=b"shop", timestamp=stamp)
        for at, (payload, stamp) in enumerate(zip(payloads, stamps, strict=True))
    ]
    log.append(message(len(log), b"mem,host=shop-1 available=1i %d000000" % later, timestamp=later))
    outputs = IngestStage(IngestSettings(), source="duri.metrics/0", samples_partitions=1).step(log)
    assert not dead(outputs)
    return outputs


def first_frame(outputs: list[Output]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Signals and settings of the first frame."""
    [frame, *_] = records(detect_stage().step(as_input(outputs, "duri.samples", 0)), Topic.FRAMES)
    return {name: signal["value"] for name, signal in frame["signals"].items()}, frame["settings"]


@pytest.fixture(scope="module")
def telegraf() -> list[Output]:
    return ingest("telegraf-inputs")


@pytest.fixture(scope="module")
def exporters() -> list[Output]:
    return ingest("exporters")


def test_each_name_of_the_table_is_really_sent(telegraf: list[Output], exporters: list[Output]) -> None:
    """What `aliases` calls by the names of these plug-ins and exporters is among what they measure."""
    table = load_definitions(shipped_config()).aliases
    known = {name for spellings in table.values() for spelling in spellings for name in spelling.parts()}
    assert known >= OF_REDIS | OF_EXPORTERS
    for outputs, names in (
        (telegraf, OF_REDIS | {name for name in known if name.startswith(MEASURED)}),
        (exporters, OF_EXPORTERS),
    ):
        sent = {one.name for output in outputs if output.topic is Topic.SAMPLES for one in samples_of(output.value)}
        assert names <= sent


def test_settings_are_those_of_the_servers(exporters: list[Output]) -> None:
    """Whatever an exporter calls them: what the PostgreSQL and the Redis were started with."""
    signals, settings = first_frame(exporters)
    assert (signals["pg.up"], signals["redis.up"]) == (1, 1)
    assert settings["pg.max_connections"] == 100
    assert settings["pg.shared_buffers"] == 128 << 20
    assert settings["pg.work_mem"] == 4 << 20
    assert settings["redis.maxmemory"] == REDIS_BYTES
    assert settings["redis.maxclients"] == 10_000
    assert (settings["redis.timeout"], settings["redis.tcp_keepalive"]) == (0, 300)
    # Neither noeviction nor always.
    assert settings.get("redis.policy_noeviction") is settings.get("redis.appendfsync_always") is None


def test_signals_have_the_values_that_were_measured(telegraf: list[Output]) -> None:
    """Shares, sizes and rates of the frame, by the last values of the very fields."""
    found, settings = first_frame(telegraf)
    last = last_values()
    assert found["redis.memory.bytes"] == last["redis used_memory"]
    assert found["redis.clients.utilisation"] == last["redis clients"] / last["redis maxclients"]
    assert found["redis.hit_ratio"] == pytest.approx(0.5)  # as many hits as misses were made
    assert found["pg.connections"] == last["postgresql numbackends"]
    assert found["container.memory.utilisation"] == last["docker_container_mem usage"] / CONTAINER_BYTES
    assert found["node.memory.utilisation"] == pytest.approx(1 - last["mem available"] / last["mem total"])
    assert found["node.filesystem.utilisation"] == pytest.approx(1 - last["disk free"] / last["disk total"])
    for share in ("container.cpu.utilisation", "node.cpu.utilisation", "node.disk.utilisation", "pg.cache_hit_ratio"):
        assert 0 < found[share] <= 1
    assert found["pg.tup_returned.rate"] > 0
    assert found["pg.temp_bytes.rate"] > 0
    assert settings["redis.maxmemory"] == REDIS_BYTES


def last_values() -> dict[str, float]:
    """The last value of each numeric field, `measurement field`; backends of all databases together."""
    found: dict[str, float] = {}
    backends: dict[str, float] = {}
    for line in b"".join(payloads_of("telegraf-inputs")).decode().splitlines():
        series, fields, _ = re.split(r"(?<!\\) ", line)
        measurement = series.partition(",")[0]
        numbers = {name: float(value) for name, value in re.findall(r"(\w+)=([-.\d]+)i?(?:,|$)", fields)}
        found |= {f"{measurement} {name}": value for name, value in numbers.items()}
        database = re.search(r",db=(\w+)", series)
        if database and database[1] != "postgres_global" and "numbackends" in numbers:
            backends[database[1]] = numbers["numbackends"]
    return found | {"postgresql numbackends": sum(backends.values())}
