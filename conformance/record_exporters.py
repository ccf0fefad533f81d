"""Record the pages of Debian's exporters: `python -m conformance.record_exporters`.

postgres_exporter and redis_exporter (with the server's settings) of a PostgreSQL and a Redis of the lab's.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import redis
import requests

from conformance import programs
from conformance.golden import save
from conformance.producers import free_port, wait_for
from lab.backends import Postgres, Redis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def page(command: Sequence[str | Path], address: str, environment: Mapping[str, str]) -> bytes:
    """What an exporter says, less lines that name places on this machine."""
    exporter = subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(address)
        body = requests.get(f"http://{address}/metrics", timeout=30).content
        return b"".join(line for line in body.splitlines(keepends=True) if b'"/' not in line)
    finally:
        exporter.terminate()
        exporter.wait(30)


def main() -> None:
    """Write `tests/golden/exporters/`, a message a page."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        postgres, store = Postgres(folder), Redis(folder)
        try:
            with contextlib.suppress(redis.ResponseError):
                store.command("NO_SUCH_COMMAND")
            here, there = (f"127.0.0.1:{free_port()}" for _ in range(2))
            of_postgres = [programs.of_debian("prometheus-postgres-exporter"), f"--web.listen-address={here}"]
            source = f"postgresql://duri@127.0.0.1:{postgres.port}/postgres?sslmode=disable"
            of_redis = [
                *(programs.of_debian("prometheus-redis-exporter"), f"-web.listen-address={there}"),
                *(f"-redis.addr=redis://127.0.0.1:{store.port}", "-include-config-metrics"),
            ]
            pages = [page(of_postgres, here, {"DATA_SOURCE_NAME": source}), page(of_redis, there, {})]
        finally:
            store.stop()
            postgres.stop()
    save(
        "exporters",
        pages,
        {
            "program": "postgres_exporter, redis_exporter",
            "version": "0.11.1, 1.45.0",
            "source": "Debian's packages prometheus-postgres-exporter, prometheus-redis-exporter",
            "settings": "defaults; redis_exporter with -include-config-metrics; lines with paths are left out",
            "kafka_timestamps": [int(time.time() * 1000)] * len(pages),
        },
    )


if __name__ == "__main__":
    main()
