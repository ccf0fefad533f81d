"""The process between us and Java: it ends Java and removes the temporary folder when we are gone.

`broker_process.py` starts this file as a script (`python -I -S broker_supervisor.py PARENT FOLDER`), in a session of
its own so that Ctrl-C in a terminal reaches neither it nor Java. It imports nothing of ours and is up in some 50 ms.

Why a process and not PR_SET_PDEATHSIG on Java: that signal is sent when the *thread* that started Java ends, and it
cannot remove a folder. Between this process and Java it is used, because this process has one thread.

FOLDER is kept, and locked so that no two brokers use it; if it is empty, a temporary folder is made. Each line on
standard input is a request, a JSON object, and gets one line in answer, with the `id` of the request:

    {"do": "folder"}                               {"folder": path} or {"error": text}
    {"do": "run", "command": [...], "log": path}   {"pid": n} or {"error": text}  start Java in the folder
    {"do": "poll"}                                 {"exit": n | null}             null while it runs
    {"do": "stop", "grace": seconds}               {"exit": n}                    SIGTERM, then SIGKILL
    {"do": "end"}                                  {}                             Java and temporary folder gone

The parent is gone when standard input ends, or when this process has another parent: that happens too when a child
of the parent has inherited the other end of the pipe, and lives on.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOOK_AFTER_PARENT_MS = 500
GRACE_WHEN_ORPHANED_S = 5.0
_PR_SET_PDEATHSIG = 1


class Supervisor:
    """One folder and at most one Java process."""

    def __init__(self, folder: str) -> None:
        self._temporary = not folder
        self._folder = folder or tempfile.mkdtemp(prefix="duri-broker-")
        self._java: subprocess.Popen[bytes] | None = None
        self._in_use: TextIO | None = None  # locked for as long as we live

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what one request asks and return the answer to it."""
        match request["do"]:
            case "folder":
                return self._lock()
            case "run":
                return self._run(request["command"], request["log"])
            case "stop":
                return {"exit": self._stop(request["grace"])}
            case "end":
                self.end()
                return {}
            case _:
                return {"exit": self._java.poll() if self._java else 0}

    def end(self) -> None:
        """End Java and remove the folder if it is temporary. May be called twice."""
        # Data that is thrown away need not be closed in good order.
        self._stop(0.0 if self._temporary else GRACE_WHEN_ORPHANED_S)
        if self._temporary:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _lock(self) -> dict[str, Any]:
        try:
            self._in_use = Path(self._folder, ".in-use").open("w")  # noqa: SIM115  # outlives this call
            fcntl.flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return {"error": f"another embedded broker uses {self._folder}: stop it, or choose another folder"}
        except OSError as error:
            return {"error": f"cannot use {self._folder} for the embedded broker: {error}"}
        return {"folder": self._folder}

    def _run(self, command: list[str], log: str) -> dict[str, Any]:
        try:
            with Path(log).open("ab") as output:
                self._java = subprocess.Popen(  # noqa: S603  # the command is broker.py's
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self._folder,
                    preexec_fn=dying_with(os.getpid()),  # noqa: PLW1509  # safe: this process has one thread
                )
        except (OSError, subprocess.SubprocessError) as error:
            return {"error": str(error)}
        return {"pid": self._java.pid}

    def _stop(self, grace: float) -> int:
        if self._java is None:
            return 0
        if grace > 0:
            self._java.terminate()
            try:
                return self._java.wait(grace)
            except subprocess.TimeoutExpired:
                pass
        self._java.kill()
        return self._java.wait()


def dying_with(parent: int) -> Callable[[], None] | None:
    """What the child does between fork and exec: have the kernel kill it when `parent` dies."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)  # loaded before the fork

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel knew
            os._exit(1)

    return arrange


def requests(parent: int) -> Iterator[dict[str, Any]]:
    """Requests from standard input until the parent is gone."""
    poller = select.poll()
    poller.register(0, select.POLLIN | select.POLLHUP)
    rest = b""
    while os.getppid() == parent:
        if not poller.poll(LOOK_AFTER_PARENT_MS):
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from map(json.loads, lines)


def main(parent: int, folder: str) -> None:
    """Serve one parent until it is gone or says `end`."""
    signal.signal(signal.SIGTERM, _leave)
    supervisor = Supervisor(folder)
    try:
        for request in requests(parent):
            answer = supervisor.answer(request)
            os.write(1, json.dumps({"id": request["id"], **answer}).encode() + b"\n")
            if request["do"] == "end":
                return
    except BrokenPipeError:
        pass  # nobody reads our answers any more
    finally:
        supervisor.end()


def _leave(*_: object) -> NoReturn:
    """Leave through `finally`, once."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
