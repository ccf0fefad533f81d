"""How the functions of this package are compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

OPTIONS: Final[dict[str, Any]] = {"nogil": True, "error_model": "numpy", "_nrt": False}
"""For numba.njit. The functions read and write arrays that their caller holds, and make none, so references need not be
counted: numba would count them, atomically, at each view of a series' state, which took a third of the time."""

_Function = TypeVar("_Function", bound="Callable[..., Any]")


def compiled(function: _Function) -> _Function:
    """Compile a function that the kernel calls; it is cached as a part of the kernel.

    It is always inlined: else all constants of `Tuning` are copied onto the stack for each call, a fifth of the time.
    """
    return cast("_Function", numba.njit(forceinline=True, **OPTIONS)(function))
