"""What a decoder gives: the samples of one message as equally long columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt


class Points(NamedTuple):
    """Samples of one message.

    `series` are the series' indexes in the catalog, `ts` ms since the epoch, `value` the values; plain sequences for a
    handful of samples, arrays (int64[n], int64[n], float64[n]) for many.
    """

    series: Sequence[int] | npt.NDArray[np.int64]
    ts: Sequence[int] | npt.NDArray[np.int64]
    value: Sequence[float] | npt.NDArray[np.float64]
