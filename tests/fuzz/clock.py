"""How long a message takes where nothing watches: `python -m tests.fuzz.clock SUBJECT`, messages in, seconds out.

What libFuzzer watches is several times slower, so its target takes time only to see which messages to time here.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from pipeline.runtime.children import end_with_parent
from pipeline.runtime.memory import collect_seldom
from tests.fuzz.subjects import subject_of
from tests.ingest.promises import decode, fresh_context

if TYPE_CHECKING:
    from tests.fuzz.subjects import Subject

KEYS = (None, b"orders")
_LONGEST_S = 0.1
_LONGEST_BYTES = 65_536
_ROUNDS = 4


def allowed_s(size: int) -> float:
    """Seconds of CPU that a message of so many bytes, unfolded, may take, whatever is new in it.

    In proportion from the longest on that is fuzzed: a compressed one holds many times as much.
    """
    return _LONGEST_S * max(1.0, size / _LONGEST_BYTES)


class Clock:
    """The process that times; it is started with the first message and ends with this one."""

    def __init__(self, subject: str) -> None:
        self._command = [sys.executable, "-m", "tests.fuzz.clock", subject]
        self._process: subprocess.Popen[bytes] | None = None

    def excess(self, payload: bytes) -> float:
        """Seconds beyond what is allowed, the first time or once its series are known; at most 0 where all is well."""
        if self._process is None:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        pipe, answers = self._process.stdin, self._process.stdout
        assert pipe is not None
        assert answers is not None
        pipe.write(b"%d\n" % len(payload) + payload)
        pipe.flush()
        return float(answers.readline())


def _best(subject: Subject, payload: bytes) -> float:
    """The best of several rounds: this machine may be busy, and the first calls compile."""
    best = float("inf")
    for _ in range(_ROUNDS):
        best = min(best, _round(subject, payload))
        if best <= 0.0:
            break
    return best


def _round(subject: Subject, payload: bytes) -> float:
    context, worst = fresh_context(KEYS[len(payload) % len(KEYS)]), 0.0
    for _ in range(2):
        began = time.thread_time()
        decode(subject, payload, context)
        worst = max(worst, time.thread_time() - began)
    return worst - allowed_s(subject.size(payload))


def main() -> None:
    """Answer until there are no more messages; as a worker's process, which collects seldom."""
    end_with_parent()
    collect_seldom()
    subject = subject_of(sys.argv[1])
    while size := sys.stdin.buffer.readline():
        print(_best(subject, sys.stdin.buffer.read(int(size))), flush=True)  # noqa: T201  it is what the process is for


if __name__ == "__main__":
    main()
