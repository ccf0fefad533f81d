"""Processes that we start and that must not outlive us, however we end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Any

from pipeline.runtime.broker_supervisor import dying_with  # which is a script as well and imports nothing of ours

_GRACE_S = 5.0


def ending_with_us() -> dict[str, Any]:
    """Options for `subprocess.Popen` and asyncio's: the kernel kills the child when the thread that starts it ends.

    So start it from a thread that lives as long as the process does, as the main one. Elsewhere than on Linux nothing.
    """
    arrange = dying_with(os.getpid())
    return {} if arrange is None else {"preexec_fn": arrange}


def end_with_parent() -> None:
    """In a child: be killed when the thread that started us ends. Elsewhere than on Linux nothing."""
    arrange = dying_with(os.getppid())
    if arrange is not None:
        arrange()


def sigterm_as_ctrl_c() -> None:
    """From now on SIGTERM ends this process as Ctrl-C does: through every `with`, `finally` and asyncio's runner.

    Also one that a script started in the background: the shell has it ignore Ctrl-C, and so it would ignore SIGTERM.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
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
