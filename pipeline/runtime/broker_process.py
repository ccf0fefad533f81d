"""Our end of the pipe to `broker_supervisor.py`: one folder and at most one Java process that cannot outlive us."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import EmbeddedBrokerError, LifecycleError
from pipeline.runtime import broker_supervisor

if TYPE_CHECKING:
    from collections.abc import Sequence

_END_TIMEOUT_S = 30.0


class SupervisedJava:
    """A folder, kept or temporary, and a Java process in it.

    Args:
        folder: Kept afterwards; None makes a temporary one.

    Raises:
        EmbeddedBrokerError: another broker uses the folder, or the supervisor cannot be started.
    """

    def __init__(self, folder: Path | None) -> None:
        self._temporary = folder is None
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._ids = count()
        script = [sys.executable, "-I", "-S", broker_supervisor.__file__]
        self._process = subprocess.Popen(  # noqa: S603  # our own script
            [*script, str(self._owner), "" if folder is None else str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        answer = self._ask("folder")
        if "error" in answer:
            self._close()
            raise EmbeddedBrokerError(answer["error"])
        self.folder = Path(answer["folder"])

    def run(self, command: Sequence[str], log: Path) -> int:
        """Start Java in the folder, its output appended to `log`; returns its process id.

        Raises:
            EmbeddedBrokerError: the command cannot be started.
        """
        answer = self._ask("run", command=list(command), log=str(log))
        if "error" in answer:
            raise EmbeddedBrokerError(f"cannot start Java: {answer['error']}")
        return int(answer["pid"])

    def exit_status(self) -> int | None:
        """How Java ended, negative for a signal; None while it runs."""
        try:
            status: int | None = self._ask("poll")["exit"]
        except EmbeddedBrokerError:
            return -signal.SIGKILL  # Java dies with its supervisor
        return status

    def stop(self, grace: float) -> None:
        """End Java: SIGTERM, and SIGKILL after `grace` seconds; with 0 SIGKILL at once."""
        self._ask("stop", grace=grace)

    def end(self, grace: float) -> None:
        """End Java, the supervisor and a temporary folder. In a forked child it does nothing."""
        if os.getpid() != self._owner:
            return
        try:
            self.stop(grace)
            self._ask("end")
            self._process.wait(_END_TIMEOUT_S)
        except (EmbeddedBrokerError, subprocess.TimeoutExpired):
            self._process.kill()  # Java dies with it
            self._process.wait()
            if self._temporary:
                shutil.rmtree(self.folder, ignore_errors=True)
        self._close()

    def _close(self) -> None:
        """Close our ends of the pipes; that ends a supervisor that still runs."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # a request that nobody has read
                    pipe.close()
        self._process.wait(_END_TIMEOUT_S)

    def _ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        if os.getpid() != self._owner:
            raise LifecycleError("the embedded broker belongs to the process that started it, not to a fork of it")
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise EmbeddedBrokerError("the embedded broker's supervisor has no pipes")
        with self._lock:
            number = next(self._ids)
            try:
                stdin.write(json.dumps({"id": number, "do": do, **arguments}).encode() + b"\n")
                stdin.flush()
                while True:
                    answer: dict[str, Any] = json.loads(stdout.readline())
                    if answer["id"] == number:  # Ctrl-C may have left the answer to an earlier request unread
                        return answer
            except (OSError, ValueError) as error:  # a closed pipe, or the end of its output
                raise EmbeddedBrokerError("the embedded broker's supervisor process is gone") from error
