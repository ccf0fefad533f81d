"""Nothing that the lab or the demo starts outlives them, however they are ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_S = 90.0
DESK = """
from lab.desk import Desk
from lab.scenarios import USUAL
desk = Desk(USUAL)
print(desk._pool.submit(str).result(), flush=True)
input()
"""


IGNORING = """
import asyncio, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
from pipeline.runtime.children import sigterm_as_ctrl_c
sigterm_as_ctrl_c()
async def wait():
    try:
        print("waits", flush=True)
        await asyncio.Event().wait()
    finally:
        print("let go", flush=True)
asyncio.run(wait())
"""


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python with these arguments; killed at the end, and what it left behind as well."""
    started: list[subprocess.Popen[str]] = []
    seen: set[psutil.Process] = set()

    def run(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            seen.update(psutil.Process(process.pid).children(recursive=True))
            process.kill()
        process.communicate()
    for one in seen:
        if one.is_running():
            one.kill()


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def end(process: subprocess.Popen[str], number: int, children: list[psutil.Process]) -> None:
    """Send the signal; the process ends, and no child of it is alive a moment later."""
    assert children
    process.send_signal(number)
    process.wait(60)
    _, alive = psutil.wait_procs(children, timeout=15)
    for one in alive:
        one.kill()
    assert alive == []


@pytest.mark.usefixtures("backends")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_labs_services_end_with_it(start: Callable[..., subprocess.Popen[str]], number: int) -> None:
    """PostgreSQL, Redis and the four services are gone, whether it could clean up or not."""
    process = start("-m", "pipeline", "lab", "up", "--scenario", "normal")
    assert process.stdout is not None
    names = [process.stdout.readline().split()[0] for _ in range(6)]
    assert {"duri_core", "postgres", "redis"} <= set(names)
    children = family(process)
    assert len(children) >= len(names)
    end(process, number, children)


@pytest.mark.usefixtures("backends")
def test_a_proof_ends_at_sigterm(start: Callable[..., subprocess.Popen[str]]) -> None:
    """`duri lab prove` lets go of its lab as at Ctrl-C."""
    process = start("-m", "pipeline", "lab", "prove", "healthy")
    wait_until(lambda: len(family(process)) >= 6)
    end(process, signal.SIGTERM, family(process))
    assert process.returncode != 0


def test_what_a_script_started_in_the_background_ends_at_sigterm(start: Callable[..., subprocess.Popen[str]]) -> None:
    """The shell has it ignore SIGINT; what it holds is let go of nevertheless."""
    process = start("-c", IGNORING)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == "let go\n"


def test_the_desk_ends_with_the_lab(start: Callable[..., subprocess.Popen[str]]) -> None:
    """The process in which the stages run is gone even after SIGKILL."""
    process = start("-c", DESK)
    assert process.stdout is not None
    process.stdout.readline()
    end(process, signal.SIGKILL, family(process))


def test_the_demo_ends_at_sigterm(start: Callable[..., subprocess.Popen[str]]) -> None:
    """With its broker, while that is starting or later."""
    process = start("-m", "pipeline", "demo", "--json")
    wait_until(lambda: any("java" in one.name() for one in family(process)))
    end(process, signal.SIGTERM, family(process))
    assert process.returncode == 128 + signal.SIGTERM
