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
    from pipeline.ingest.formats.registry import FORMATS
    from tests.fuzz.clock import KEYS, Clock, allowed_s
    from tests.fuzz.subjects import subject_of
    from tests.ingest.promises import check_result, decode, fresh_context

if TYPE_CHECKING:
    from pipeline.errors import DecodeError
    from pipeline.ingest.points import Context, Points
    from tests.fuzz.subjects import Subject

_BASE_BYTES = 256 << 10
_SERIES_BYTES = 2048
_WEIGH_EVERY = 8


def timed(clock: Clock, subject: Subject, payload: bytes, context: Context) -> Points | DecodeError:
    """Decode within the bound of time. Raises AssertionError."""
    known, began = len(context.catalog), time.thread_time()
    found = decode(subject, payload, context)
    spent = time.thread_time() - began
    if spent > allowed_s(len(context.catalog) - known):
        beyond = clock.excess(payload)
        assert beyond <= 0.0, f"{beyond:.3f} s too long for {len(payload)} bytes"
    return found


def weighed(_: Clock, subject: Subject, payload: bytes, context: Context) -> Points | DecodeError:
    """Decode within the bound of memory. Raises AssertionError."""
    known = len(context.catalog)
    room = subject.room(payload)
    tracemalloc.start()
    found = decode(subject, payload, context)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    allowed = room + _BASE_BYTES + _SERIES_BYTES * (len(context.catalog) - known)
    assert peak <= allowed, f"{peak} bytes of memory for a message of {len(payload)}, at most {allowed}"
    return found


def main() -> None:
    """Run until libFuzzer has had its time, or found something."""
    subject, clock = subject_of(sys.argv[1]), Clock(sys.argv[1])

    def one_input(payload: bytes) -> None:
        context = fresh_context(KEYS[len(payload) % len(KEYS)])
        check_result(timed(clock, subject, payload, context), subject, payload, context)
        # Once more, now that its series are known; memory is slow to trace, so of some messages only.
        again = weighed if crc32(payload) % _WEIGH_EVERY == 0 else timed
        check_result(again(clock, subject, payload, context), subject, payload, context)

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
