"""Record how Telegraf names what it measures: `python -m conformance.record_telegraf_inputs [DOCKER_SOCKET]`.

It measures this machine, a PostgreSQL and a Redis of the lab's under a little load, and containers where a socket is
given. Its own file output has what would go to Kafka, in line protocol.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path

import redis

from conformance import programs
from conformance.golden import save
from lab.backends import Postgres, Redis, postgres_programs

_EVERY_S = 2
_TIMES = 5
_CONFIG = """\
[agent]
  interval = "{every}s"
  flush_interval = "{every}s"
  hostname = "shop-1"
[[inputs.cpu]]
  percpu = true
  totalcpu = true
  collect_cpu_time = true
[[inputs.mem]]
[[inputs.disk]]
  mount_points = ["/"]
[[inputs.diskio]]
[[inputs.net]]
  ignore_protocol_stats = true
[[inputs.postgresql]]
  address = "host=127.0.0.1 port={postgres} user=duri dbname=postgres sslmode=disable"
[[inputs.redis]]
  servers = ["tcp://127.0.0.1:{redis}"]
"""
_DOCKER = """\
[[inputs.docker]]
  endpoint = "unix://{socket}"
  perdevice_include = ["cpu", "network"]
  total_include = ["cpu", "network"]
"""
_OUTPUT = """\
[[outputs.file]]
  files = ["{file}"]
  data_format = "influx"
"""


def work(postgres: Postgres, store: Redis) -> None:
    """A little for both to count: hits, misses, an error, blocks, a temporary file."""
    with redis.Redis(port=store.port) as client:
        client.set("key", "value")
        for _ in range(50):
            client.get("key")
            client.get("none")
        with contextlib.suppress(redis.ResponseError):
            client.execute_command("NO_SUCH_COMMAND")
    query = (
        "SET work_mem = '64kB'; SELECT max(m) FROM (SELECT md5(i::text) m FROM generate_series(1, 9999) i ORDER BY m) s"
    )
    psql = [str(postgres_programs() / "psql"), "-qAtX", "-h", "127.0.0.1", "-p", str(postgres.port), "-U", "duri"]
    subprocess.run([*psql, "-d", "postgres", "-c", query], check=True, capture_output=True)


def record(socket: str | None, folder: Path) -> list[str]:
    """The lines that Telegraf wrote."""
    postgres, store = Postgres(folder), Redis(folder)
    try:
        store.command("CONFIG", "SET", "appendonly", "yes")
        config, out = folder / "telegraf.conf", folder / "lines"
        text = _CONFIG.format(every=_EVERY_S, postgres=postgres.port, redis=store.port)
        text += _DOCKER.format(socket=socket) if socket else ""
        config.write_text(text + _OUTPUT.format(file=out))
        telegraf = subprocess.Popen([programs.telegraf(), "--config", config])
        for _ in range(_TIMES):
            work(postgres, store)
            time.sleep(_EVERY_S)
        telegraf.terminate()
        telegraf.wait(30)
        return out.read_text().splitlines()
    finally:
        store.stop()
        postgres.stop()


def main() -> None:
    """Write `tests/golden/telegraf-inputs/`, one message an interval."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        lines = record(sys.argv[1] if len(sys.argv) > 1 else None, folder)
    kept = sorted((line for line in lines if not line.startswith("docker,")), key=_second)
    messages = [(second, list(group)) for second, group in groupby(kept, _second)]
    save(
        "telegraf-inputs",
        ["".join(f"{line}\n" for line in lines).encode() for _, lines in messages],
        {
            "program": "Telegraf, inputs cpu, mem, disk, diskio, net, postgresql, redis, docker",
            "version": programs.TELEGRAF_VERSION,
            "source": "Go module",
            "settings": f"interval {_EVERY_S}s; outputs.file: data_format = influx; a message has one second's lines",
            "kafka_timestamps": [1000 * second + 999 for second, _ in messages],
        },
    )


def _second(line: str) -> int:
    return int(line.rpartition(" ")[2]) // 1_000_000_000


if __name__ == "__main__":
    main()
