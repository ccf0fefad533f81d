"""Processes that we start and that must not outlive us, however we end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_GRACE_S = 5.0


def ending_with_us() -> dict[str, Any]:
    """Options for `subprocess.Popen` and asyncio's: the kernel kills the child when the thread that starts it ends.

    So start it from a thread that lives as long as the process does, as the main one. Elsewhere than on Linux nothing.
    """
    arrange = _arrangement(os.getpid())
    return {} if arrange is None else {"preexec_fn": arrange}


def end_with_parent() -> None:
    """In a child: be killed when the thread that started us ends. Elsewhere than on Linux nothing."""
    arrange = _arrangement(os.getppid())
    if arrange is not None:
        arrange()


def _arrangement(parent: int) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)  # loaded before the fork

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel knew
            os._exit(1)

    return arrange


def sigterm_as_ctrl_c() -> None:
    """From now on SIGTERM ends this process as Ctrl-C does: through every `with`, `finally` and asyncio's runner."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


async def stop_child(child: asyncio.subprocess.Process) -> None:
    """End a child that still runs: SIGTERM, and SIGKILL where it does not go."""
    if child.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        async with asyncio.timeout(_GRACE_S):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()
