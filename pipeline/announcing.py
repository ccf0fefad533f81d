"""Telling a person at a terminal that a command waits for the broker, where that takes longer than a moment."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MOMENT_S: Final = 1.0

ANNOUNCE: ContextVar[Callable[[str], None] | None] = ContextVar("announce", default=None)
"""What says a line to the person; None where nobody looks."""


@contextmanager
def connecting(bootstrap: str) -> Iterator[None]:
    """Say what is waited for, once, where what is within takes longer than a second."""
    announce = ANNOUNCE.get()
    if announce is None:
        yield
        return
    later = asyncio.get_running_loop().call_later(_MOMENT_S, announce, f"connecting to {bootstrap} …")
    try:
        yield
    finally:
        later.cancel()
