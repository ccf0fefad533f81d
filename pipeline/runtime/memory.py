"""How a worker's process treats memory: the C library's allocator, and Python's collector of cycles."""

from __future__ import annotations

import contextlib
import ctypes
import gc

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


_YOUNG_OBJECTS = 50_000


def collect_seldom() -> None:
    """Look for cycles after fifty thousand new objects instead of hundreds, and never among what is there now.

    A poll makes tens of thousands of records, none of them in a cycle; looking through them again and again takes
    half of the time of reading (`benchmarks/bench_ingest.py`: its ceiling doubles).
    """
    gc.set_threshold(_YOUNG_OBJECTS, 20, 50)
    gc.collect()
    gc.freeze()
