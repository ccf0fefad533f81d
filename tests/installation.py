"""The command `duri` as people run it, for tests of the whole."""

from __future__ import annotations

import asyncio
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

import pipeline.cli

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

DEADLINE_S = 90.0


def duri(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `duri` to its end within this process: for commands that need no broker, and no other process's second."""
    words = [str(argument) for argument in arguments]
    out, err, status = io.StringIO(), io.StringIO(), 0
    with patch.object(sys, "argv", ["duri", *words]), redirect_stdout(out), redirect_stderr(err):
        try:
            pipeline.cli.main()
        except SystemExit as end:
            status = int(end.code or 0)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file of this process can grow beyond so many bytes: the kernel refuses to write more, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


class Installation:
    """The command `duri` against one broker, with topics of its own."""

    def __init__(self, bootstrap: str, prefix: str, **environment: str) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.environment: Mapping[str, str] = os.environ | {
            "DURI_BOOTSTRAP": bootstrap,
            "DURI_TOPICS__PREFIX": prefix,
            "DURI_RUNTIME__GROUP": prefix,
            "DURI_RUNTIME__HTTP_PORT": "0",
            "DURI_RUNTIME__TICK_AFTER_S": "1",
            **environment,
        }

    def with_topics(self) -> Installation:
        """The same, after `duri topics create`."""
        created = self.command("topics", "create")
        assert created.returncode == 0, created.stderr
        return self

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `duri` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments],
            env=self.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    @contextmanager
    def running(self, *stages: str) -> Iterator[subprocess.Popen[str]]:
        """`duri run` in the background, ended by SIGTERM."""
        worker = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "run", *stages],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            yield worker
            assert worker.poll() is None, "the worker ended by itself"
            assert worker.stdout is not None
            worker.stdout.readline()  # it says that it is ready; one that has not begun dies of the signal
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(15) == 0
        finally:
            worker.kill()

    def read(self, topic: str, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """Records of a topic from its beginning, as an ordinary consumer sees them, until there is enough."""
        return asyncio.run(self._read(topic, enough))

    async def _read(self, topic: str, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with AIOKafkaConsumer(
            self.prefix + topic, bootstrap_servers=self.bootstrap, auto_offset_reset="earliest",
            isolation_level="read_committed",
        ) as consumer:  # fmt: skip
            ends = time.monotonic() + DEADLINE_S
            while not enough(found):
                assert time.monotonic() < ends, (
                    f"{topic}: {len(found)} records within {DEADLINE_S:.0f} s, the last {found[-1:]}"
                )
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += [json.loads(record.value) for record in records]
        return found

    def publish(self, messages: list[tuple[str, bytes, list[tuple[str, bytes]]]]) -> None:
        """Publish as somebody's producer does: (topic, value, headers), no keys."""
        asyncio.run(self._publish(messages))

    async def _publish(self, messages: list[tuple[str, bytes, list[tuple[str, bytes]]]]) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap) as producer:
            for topic, value, headers in messages:
                # One partition keeps the history in the order in which it happened.
                await producer.send(self.prefix + topic, value, headers=headers, partition=0)
            await producer.flush()
