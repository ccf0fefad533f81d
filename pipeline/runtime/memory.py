"""How the C library's allocator treats the learners' columns."""

from __future__ import annotations

import contextlib
import ctypes

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 4 << 20


def give_large_arrays_back() -> None:
    """Let arrays of 4 MB and more go straight back to the system when they are freed.

    glibc raises that bound to 32 MB once such an array was freed; columns that grow then leave holes in the heap that
    nobody fills: a third of the memory of a worker with 100,000 series (`benchmarks/bench_memory.py`). Elsewhere than
    on glibc this does nothing.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
