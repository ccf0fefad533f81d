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
    from tests.fuzz.subjects import subject_of
    from tests.ingest.promises import check_result, decode, fresh_context

if TYPE_CHECKING:
    from pipeline.errors import DecodeError
    from pipeline.ingest.points import Context, Points
    from tests.fuzz.subjects import Subject

_LONGEST_S = 0.1
_SERIES_S = 0.0001
"""For each new series: what watches the code makes it several times slower; `benchmarks.bench_new_series` says what
they take without."""
_BASE_BYTES = 256 << 10
_SERIES_BYTES = 2048
_WEIGH_EVERY = 8
_KEYS = (None, b"orders")


def timed(subject: Subject, payload: bytes, context: Context) -> Points | DecodeError:
    """Decode within the bound of time. Raises AssertionError."""
    found, spent, allowed = _clocked(subject, payload, context)
    if spent > allowed:
        # The machine may have been busy, or this the first call of something compiled.
        spent = min(_clocked(subject, payload, fresh_context())[1] for _ in range(3))
        assert spent <= allowed, f"{spent:.3f} s for {len(payload)} bytes"
    return found


def weighed(subject: Subject, payload: bytes, context: Context) -> Points | DecodeError:
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


def _clocked(subject: Subject, payload: bytes, context: Context) -> tuple[Points | DecodeError, float, float]:
    """What comes of it, the seconds that it took, and how many it may take."""
    known, began = len(context.catalog), time.thread_time()
    found = decode(subject, payload, context)
    spent = time.thread_time() - began
    return found, spent, _LONGEST_S + _SERIES_S * (len(context.catalog) - known)


def main() -> None:
    """Run until libFuzzer has had its time, or found something."""
    subject = subject_of(sys.argv[1])

    def one_input(payload: bytes) -> None:
        context = fresh_context(_KEYS[len(payload) % len(_KEYS)])
        check_result(timed(subject, payload, context), subject, payload, context)
        # Once more, now that its series are known; memory is slow to trace, so of some messages only.
        again = weighed if crc32(payload) % _WEIGH_EVERY == 0 else timed
        check_result(again(subject, payload, context), subject, payload, context)

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
