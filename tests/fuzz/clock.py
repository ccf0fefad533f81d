"""How long a message takes where nothing watches: `python -m tests.fuzz.clock SUBJECT < message`.

What libFuzzer watches is several times slower, so its target takes time only to see which messages to time here.
"""

from __future__ import annotations

import subprocess
import sys
import time

from tests.fuzz.subjects import subject_of
from tests.ingest.promises import decode, fresh_context

LONGEST_S = 0.1
SERIES_S = 0.00005
"""For each new series: `benchmarks.bench_new_series` says what they take."""
_ROUNDS = 4
KEYS = (None, b"orders")


def excess(subject: str, payload: bytes) -> float:
    """Seconds of CPU beyond what the message may take, the first time or once its series are known; at most 0 if well.

    The best of several rounds, in another process: this machine may be busy, and the first calls compile.
    """
    command = [sys.executable, "-m", "tests.fuzz.clock", subject]
    return float(subprocess.run(command, input=payload, capture_output=True, check=True).stdout)


def _clocked(subject: str, payload: bytes) -> float:
    entry = subject_of(subject)
    rounds = []
    for _ in range(_ROUNDS):
        context = fresh_context(KEYS[len(payload) % len(KEYS)])
        spent = []
        for _ in range(2):
            known, began = len(context.catalog), time.thread_time()
            decode(entry, payload, context)
            took = time.thread_time() - began
            spent.append(took - LONGEST_S - SERIES_S * (len(context.catalog) - known))
        rounds.append(spent)
    return max(map(min, zip(*rounds, strict=True)))


if __name__ == "__main__":
    print(_clocked(sys.argv[1], sys.stdin.buffer.read()))  # noqa: T201  it is what the process is for
