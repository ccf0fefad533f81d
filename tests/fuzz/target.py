"""One subject under libFuzzer: `python -m tests.fuzz.target SUBJECT CORPUS [libFuzzer's options]`.

What is compiled stays as it is: numba cannot compile instrumented code.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import atheris

_ROOT = Path(__file__).parents[2]
_COMPILED = [
    ".".join(file.relative_to(_ROOT).with_suffix("").parts)
    for file in (_ROOT / "pipeline").rglob("*.py")
    if "import numba" in (code := file.read_text()) or "import kernel" in code
]

with atheris.instrument_imports(include=["pipeline"], exclude=_COMPILED):
    from pipeline.errors import DecodeError
    from pipeline.ingest.formats.registry import FORMATS
    from tests.fuzz.clock import KEYS, Clock, allowed_s
    from tests.fuzz.subjects import subject_of
    from tests.ingest.promises import check_result, decode, fresh_context

if TYPE_CHECKING:
    from pipeline.ingest.points import Context
    from tests.fuzz.subjects import Subject

_MEMORY = 10
_BASE_BYTES = 256 << 10
_SAMPLE_BYTES = 24
"""What is made of a message: a sample may be a single byte of it."""
_SERIES_BYTES = 32
"""For each new series: what the table holds twice while it grows."""
_WEIGH_EVERY = 8


def timed(clock: Clock, subject: Subject, payload: bytes, context: Context) -> None:
    """Decode within the bound of time, and as promised. Raises AssertionError."""
    began = time.thread_time()
    found = decode(subject, payload, context)
    spent = time.thread_time() - began
    if spent > allowed_s(subject.size(payload)):
        beyond = clock.excess(payload)
        assert beyond <= 0.0, f"{beyond:.3f} s too long for {len(payload)} bytes"
    check_result(found, subject, payload, context)


def weighed(_: Clock, subject: Subject, payload: bytes, context: Context) -> None:
    """Decode within the bound of memory, and as promised. Raises AssertionError.

    What the table of series keeps is its own: `benchmarks.bench_new_series` says how much.
    """
    size, known = subject.size(payload), len(context.catalog)
    tracemalloc.start()
    found = decode(subject, payload, context)
    _, peak = tracemalloc.get_traced_memory()
    made = _SERIES_BYTES * (len(context.catalog) - known)
    made += 0 if isinstance(found, DecodeError) else _SAMPLE_BYTES * len(found.ts)
    check_result(found, subject, payload, context)
    del found
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    allowed = _MEMORY * size + _BASE_BYTES + made + subject.bomb
    assert peak - kept <= allowed, f"{peak - kept} bytes of memory for a message of {size}, at most {allowed}"


def main() -> None:
    """Run until libFuzzer has had its time, or found something."""
    subject, clock = subject_of(sys.argv[1]), Clock(sys.argv[1])

    def one_input(payload: bytes) -> None:
        context = fresh_context(KEYS[len(payload) % len(KEYS)])
        # Once, and once more, now that its series are known; memory is slow to trace, so it is of some only.
        turn = crc32(payload) % _WEIGH_EVERY
        (weighed if turn == 0 else timed)(clock, subject, payload, context)
        (weighed if turn == 1 else timed)(clock, subject, payload, context)

    _warm_up()
    atheris.Setup([sys.argv[0], *sys.argv[2:]], one_input)
    atheris.Fuzz()


def _warm_up() -> None:
    """Compile what is compiled at its first call, which would be a finding otherwise."""
    for payload in (b"a,b=c d=1,e=2i 5\n", b"a 1\n", b"{}", b"[]", b"\x0a\x00"):
        for entry in FORMATS:
            decode(entry, payload, fresh_context())


if __name__ == "__main__":
    main()
