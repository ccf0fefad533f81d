"""Bytes read as the machine reads them: one, or eight at once.

numba tests every place for being negative, and makes eight loads of eight bytes; these are one load each. The caller
has seen that the bytes are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    Load = Callable[[npt.NDArray[np.uint8], int], int]
    Copy = Callable[[npt.NDArray[np.uint8], int, int, npt.NDArray[np.uint8], int], int]


def _place(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.gep(data, [arguments[1]])


def _load8(_typing: Any, text: Any, _at: Any) -> tuple[Any, Any]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = builder.load(_place(context, builder, signature, arguments))
        return builder.zext(byte, ir.IntType(64))

    return types.int64(text, types.int64), generate


def _load64(_typing: Any, text: Any, _at: Any) -> tuple[Any, Any]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature, arguments)
        return builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)

    return types.int64(text, types.int64), generate


def _lowest(_typing: Any, _marks: Any) -> tuple[Any, Any]:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        bits = builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))
        return builder.lshr(bits, ir.Constant(ir.IntType(64), 3))

    return types.int64(types.uint64), generate


def _copied(_typing: Any, text: Any, _at: Any, _end: Any, into: Any, _to: Any) -> tuple[Any, Any]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        text_type, _, _, into_type, _ = signature.args
        text, at, end, into, place = arguments
        source = builder.gep(context.make_array(text_type)(context, builder, text).data, [at])
        target = builder.gep(context.make_array(into_type)(context, builder, into).data, [place])
        size = builder.sub(end, at)
        cast("Callable[..., None]", cgutils.raw_memcpy)(builder, target, source, size, 1)
        return builder.add(place, size)

    return types.int64(text, types.int64, types.int64, into, types.int64), generate


load8 = cast("Load", intrinsic(_load8))
"""The byte of uint8[n] at a place."""
load64 = cast("Load", intrinsic(_load64))
"""Bytes `at` to `at + 7` of uint8[n] as int64, the lowest first."""
lowest = cast("Callable[[np.uint64], int]", intrinsic(_lowest))
"""Which byte of a uint64 that is not 0 holds its lowest bit."""
copy = cast("Copy", intrinsic(_copied))
"""Copy bytes of uint8[n] from a place up to another into a second array at a place; the place after them there."""
