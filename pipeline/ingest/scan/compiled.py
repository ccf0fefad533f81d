"""How kernels of this package are compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

_OPTIONS: Final[dict[str, Any]] = {"cache": True, "nogil": True, "_nrt": False}
_Function = TypeVar("_Function", bound="Callable[..., Any]")


def kernel(function: _Function) -> _Function:
    """Compile once, keep it on disk, and let other threads run meanwhile.

    Kernels read and write arrays that their caller holds, and make none: so nothing need be counted. numba would count
    references to each array at each call from one kernel to another, atomically, which took two thirds of the time.
    """
    return cast("_Function", numba.njit(**_OPTIONS)(function))
