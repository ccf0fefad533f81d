"""A real Apache Kafka on this machine for as long as this process lives: no Docker, no system Java.

One KRaft node, broker and controller in one Java process, listens on 127.0.0.1 only. Its folder holds

    kafka-logs/         Kafka's data
    server.properties   its settings, written at every start
    broker.log          what it printed
    tmp/                native libraries that Java unpacks

Nothing outlives us: a supervisor process (`broker_supervisor.py`) ends Java and removes a temporary folder as soon as
this process is gone, were it by SIGKILL.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pipeline.errors import EmbeddedBrokerError, LifecycleError
from pipeline.runtime.broker_faststart import FastStart
from pipeline.runtime.broker_java import (
    HOST,
    PORT_TAKEN,
    SETTINGS_FILE,
    check_free,
    free_port,
    java_command,
    new_cluster_id,
    stored_cluster_id,
    write_settings,
)
from pipeline.runtime.broker_probe import serving_cluster
from pipeline.runtime.broker_process import SupervisedJava
from pipeline.runtime.jars import Progress, ensure_jars

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

START_TIMEOUT_S = 60.0
STOP_GRACE_S = 10.0

_LOG_LINES_IN_ERROR = 15
_LOOK_EVERY_S = 0.02
_TRIES = 3  # with ports of our choice: another program may take one between our look and Kafka's
_HINTS = {
    PORT_TAKEN: "A port is taken: choose another, or none to have one chosen.",
    "OutOfMemoryError": "It needs a larger heap.",
    "No space left on device": "The disk is full.",
}


class EmbeddedBroker:
    """An Apache Kafka of our own, for use with `with`; clients reach it at `bootstrap`.

    Args:
        data_dir: Folder that is kept, and can be used again later; None makes a temporary one, removed at the end.
        port: Port for clients; None chooses a free one.
        heap_mb: Java's heap, MB; 256 is ample for tests and demonstrations (some 330 MB resident).
        settings: Further Kafka settings; they win over those of `broker_java.SETTINGS`.
        progress: Told what is done on the very first start, when jars are fetched; see `jars.Progress`.
        start_timeout: Seconds that Kafka has to become ready.

    It may be started and stopped from any thread, one at a time. A forked child's copy of it does nothing on close.
    """

    def __init__(
        self,
        data_dir: Path | str | None = None,
        *,
        port: int | None = None,
        heap_mb: int = 256,
        settings: Mapping[str, str] | None = None,
        progress: Progress | None = None,
        start_timeout: float = START_TIMEOUT_S,
    ) -> None:
        self._data_dir = None if data_dir is None else Path(data_dir).expanduser().absolute()
        self._wanted_port = port
        self._heap_mb = heap_mb
        self._settings = dict(settings or {})
        self._progress = progress
        self._start_timeout = start_timeout
        self._java: SupervisedJava | None = None
        self._ports: tuple[int, int] | None = None  # clients', controller's
        self._pid: int | None = None
        self._log_from = 0  # bytes of the log that are of earlier starts

    @property
    def bootstrap(self) -> str:
        """Address for clients, `127.0.0.1:PORT`; the same after a restart.

        Raises:
            LifecycleError: never started.
        """
        if self._ports is None:
            raise LifecycleError("the embedded broker has no address before it is started")
        return f"{HOST}:{self._ports[0]}"

    @property
    def folder(self) -> Path:
        """Folder of the data and the log.

        Raises:
            LifecycleError: not started, or closed.
        """
        return self._supervised().folder

    @property
    def log_file(self) -> Path:
        """What Kafka printed, all starts one after the other."""
        return self.folder / "broker.log"

    @property
    def pid(self) -> int | None:
        """Process id of Java; None while it does not run."""
        return self._pid if self.running else None

    @property
    def running(self) -> bool:
        """Whether Java runs; False too once it has died by itself."""
        return self._java is not None and self._pid is not None and self._java.exit_status() is None

    def start(self) -> Self:
        """Start and wait until clients are served; after `stop` or `kill`: on the same ports and data.

        Raises:
            EmbeddedBrokerError: no jars, a port or the folder taken, or Kafka ended or was not ready in time (with its
                last lines).
            LifecycleError: it runs already.
        """
        if self.running:
            raise LifecycleError(f"the embedded broker at {self.bootstrap} runs already")
        try:
            jars = ensure_jars(self._progress)
            self._java = self._java or SupervisedJava(self._make_data_dir())
            self._start(jars)
        except BaseException:  # Ctrl-C while we wait must leave nothing behind either
            self.close()
            raise
        return self

    def stop(self, *, grace: float = STOP_GRACE_S) -> None:
        """Stop in good order, or by SIGKILL after `grace` seconds. Folder and ports stay for `start`."""
        self._pid = None
        if self._java is not None:
            self._java.stop(grace)

    def kill(self) -> None:
        """End Java by SIGKILL, as a crash would. Folder and ports stay for `start`."""
        self.stop(grace=0.0)

    def close(self) -> None:
        """End Java, in good order if the folder is kept; remove a temporary folder. May be called twice."""
        java, self._java, self._pid = self._java, None, None
        if java is not None:
            java.end(grace=0.0 if self._data_dir is None else STOP_GRACE_S)

    def failure(self, what: str) -> EmbeddedBrokerError:
        """An error that says `what` happened, with a hint and the last lines of Kafka's log.

        Raises:
            LifecycleError: not started, or closed.
        """
        text = self.log_file.read_bytes()[self._log_from :].decode(errors="replace")
        told = [line for line in text.splitlines() if not line.startswith("\tat ")]  # without stacks of calls
        tail = "\n".join(told[-_LOG_LINES_IN_ERROR:])
        hints = "".join(f" {hint}" for sign, hint in _HINTS.items() if sign in text)
        return EmbeddedBrokerError(f"{what}.{hints} Last lines of its log, {self.log_file}:\n{tail}")

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _supervised(self) -> SupervisedJava:
        if self._java is None:
            raise LifecycleError("the embedded broker is not started")
        return self._java

    def _make_data_dir(self) -> Path | None:
        if self._data_dir is not None:
            try:
                self._data_dir.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise EmbeddedBrokerError(f"cannot make the broker's data folder: {error}") from error
        return self._data_dir

    def _start(self, jars: Sequence[Path]) -> None:
        tries = _TRIES if self._ports is None and self._wanted_port is None else 1
        for left in reversed(range(tries)):
            self._ports = self._ports or (self._wanted_port or free_port(), free_port())
            try:
                self._launch(jars, self._ports)
            except EmbeddedBrokerError as error:
                if not left or PORT_TAKEN not in str(error):
                    raise
                self._ports = None
            else:
                return

    def _launch(self, jars: Sequence[Path], ports: tuple[int, int]) -> None:
        """1. settings; 2. archive of classes, on the second start here; 3. format, on first use; 4. Kafka itself."""
        folder = self._supervised().folder
        check_free(ports[0])
        write_settings(folder, ports, self._settings)
        self.log_file.touch()
        self._log_from = self.log_file.stat().st_size
        fast = FastStart(jars[0].parent, folder)
        if fast.is_due:
            self._make_archive(jars, fast)
        if stored_cluster_id(folder) is None:
            tool = ["kafka.tools.StorageTool", "format", "-t", new_cluster_id(), "-c", SETTINGS_FILE]
            self._run(jars, ["-XX:TieredStopAtLevel=1", *fast.options()], tool)  # short: no optimizing compiler
            self._wait(lambda: self._supervised().exit_status() == 0)
        cluster = stored_cluster_id(folder)
        self._pid = self._run(jars, fast.options(), ["kafka.Kafka", SETTINGS_FILE])
        self._wait(lambda: serving_cluster(HOST, ports[0]) == cluster)
        fast.keep_classes()

    def _make_archive(self, jars: Sequence[Path], fast: FastStart) -> None:
        if self._progress is not None:
            self._progress("preparing fast starts (once)", 0, 1)
        self._run(jars, fast.archive_options(), [])
        self._wait(lambda: self._supervised().exit_status() is not None)
        fast.keep_archive()
        if self._progress is not None:
            self._progress("preparing fast starts (once)", 1, 1)

    def _run(self, jars: Sequence[Path], options: Sequence[str], what: Sequence[str]) -> int:
        command = java_command(jars, heap_mb=self._heap_mb, options=options)
        return self._supervised().run([*command, *what], self.log_file)

    def _wait(self, done: Callable[[], bool]) -> None:
        java = self._supervised()
        until = time.monotonic() + self._start_timeout
        while True:
            status = java.exit_status()
            if done():
                return
            if status is not None:
                raise self.failure(f"the embedded broker ended while starting (status {status})")
            if time.monotonic() > until:
                raise self.failure(f"the embedded broker was not ready within {self._start_timeout:g} s")
            time.sleep(_LOOK_EVERY_S)
