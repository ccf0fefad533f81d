"""The container runtime's HTTP API over its Unix socket (Docker's; Podman speaks it too)."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any

from pipeline.errors import SourceError, SourceUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

_ANSWER_S = 10.0


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_ANSWER_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class DockerApi:
    """Asks the runtime at this socket; every call blocks."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, question: str) -> Any:
        """The answer, from JSON; None where what was asked for is no more (404).

        Raises SourceUnavailableError where nobody answers, SourceError where the runtime refuses.
        """
        connection = _UnixConnection(self.path)
        try:
            connection.request("GET", question)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise SourceUnavailableError(self._nobody(error)) from error
        finally:
            connection.close()
        if answer.status == http.HTTPStatus.NOT_FOUND:
            return None
        if answer.status != http.HTTPStatus.OK:
            raise SourceError(f"{self.path} answers {question} with {answer.status}: {body[:200]!r}")
        try:
            return json.loads(body)
        except ValueError as error:
            raise SourceError(f"{self.path} answers {question} with no JSON: is it a container runtime's?") from error

    def _nobody(self, error: Exception) -> str:
        remedy = "start Docker (or `systemctl start podman.socket`), or name its socket with --socket"
        if isinstance(error, PermissionError):
            remedy = "run as a user that may use it (for Docker: in the group docker)"
        return f"no container runtime answers at {self.path} ({error}); {remedy}"
