"""Ask a Kafka broker which cluster it serves: one request over a plain socket, no client library.

The request is Metadata version 2 (Kafka protocol guide, "The Messages: Metadata"): every Kafka since 0.10 answers it.
"""

from __future__ import annotations

import socket
import struct

_METADATA, _VERSION, _CORRELATION = 3, 2, 1
_NO_CLIENT_ID, _NO_TOPICS = -1, 0


def serving_cluster(host: str, port: int, *, timeout: float = 1.0) -> str | None:
    """Cluster id of the broker at this address; None while nobody there is ready to serve.

    `timeout` is in seconds, for the connection and for each part of the answer. Ready means that the broker lists at
    least one broker that takes part, which an accepted connection alone does not tell.
    """
    request = struct.pack(">hhihi", _METADATA, _VERSION, _CORRELATION, _NO_CLIENT_ID, _NO_TOPICS)
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", _read(connection, 4))
            return _cluster_id(_read(connection, size))
    except (OSError, struct.error, UnicodeDecodeError):
        return None  # refused, closed, too slow, or something that does not speak Kafka


def _read(connection: socket.socket, size: int) -> bytes:
    if not 0 <= size <= 1 << 20:
        raise struct.error(f"{size} bytes are no Kafka answer")
    parts = b""
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise ConnectionResetError
        parts += part
    return parts


def _cluster_id(answer: bytes) -> str | None:
    correlation, brokers = struct.unpack_from(">ii", answer)
    if correlation != _CORRELATION or brokers < 1:
        return None
    place = 8
    for _ in range(brokers):
        _, place = _string(answer, place + 4)  # node id, host
        _, place = _string(answer, place + 4)  # port, rack
    cluster, _ = _string(answer, place)
    return cluster


def _string(answer: bytes, place: int) -> tuple[str | None, int]:
    (length,) = struct.unpack_from(">h", answer, place)
    start = place + 2
    if length < 0:
        return None, start
    if start + length > len(answer):
        raise struct.error("cut short")
    return answer[start : start + length].decode(), start + length
