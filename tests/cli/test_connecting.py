"""A command that waits for a broker says so to who looks."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys

from pipeline.runtime.announcing import ANNOUNCE, connecting

NOBODY = "127.0.0.1:9"


def test_a_terminal_is_told_what_is_waited_for() -> None:
    """One line on standard error, ahead of the error that ends the wait."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "topics", "describe", "--bootstrap", NOBODY],
            stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=False,
        )  # fmt: skip
        os.close(theirs)
        said = terminal.read(4096).decode().splitlines()
    assert done.returncode == 1
    assert done.stdout == b""
    assert said[0] == f"connecting to {NOBODY} …"
    assert said[1].startswith("duri: no Kafka broker answers")


def test_a_broker_that_answers_at_once_is_not_spoken_of() -> None:
    """Nothing is said in the first second."""
    said: list[str] = []

    async def quick() -> None:
        ANNOUNCE.set(said.append)
        with connecting(NOBODY):
            await asyncio.sleep(0)
        await asyncio.sleep(1.2)

    asyncio.run(quick())
    assert said == []
