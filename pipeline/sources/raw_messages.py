"""Files as messages, byte for byte: whatever a producer would send."""

from __future__ import annotations

from itertools import islice
from typing import IO, TYPE_CHECKING

from pipeline.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator


def whole(source: IO[bytes], name: str, limit: int) -> Iterator[bytes]:
    """All of a file as one message. Raises FileError where it is empty or longer than `limit` bytes."""
    message = source.read(limit + 1)
    if not message:
        raise FileError(f"{name} is empty: there is nothing to send")
    if len(message) > limit:
        raise FileError(
            f"{name} is longer than the {limit} bytes that one message may have; --lines N sends N lines a message"
        )
    yield message


def by_lines(source: IO[bytes], name: str, lines: int, limit: int) -> Iterator[bytes]:
    """So many lines a message, the last with what is left; no file is ever in memory as a whole.

    Raises FileError where it is empty, or such a message is longer than `limit` bytes.
    """
    number = 0
    while part := list(islice(_lines(source, limit), lines)):
        message = b"".join(part)
        if len(message) > limit:
            raise FileError(
                f"{name}: the {len(part)} lines from line {number + 1} on have more than the {limit} bytes that one "
                "message may have; give fewer --lines"
            )
        number += len(part)
        yield message.rstrip(b"\n")
    if not number:
        raise FileError(f"{name} is empty: there is nothing to send")


def _lines(source: IO[bytes], limit: int) -> Iterator[bytes]:
    while line := source.readline(limit + 1):
        yield line
