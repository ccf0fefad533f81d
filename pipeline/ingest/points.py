"""What a decoder is given beside the bytes, and what it gives: the samples of one message as equally long columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from pipeline.ingest.catalog import SeriesCatalog
    from pipeline.ingest.limits import TimeWindow
    from pipeline.ingest.refused import Refused


class Context(NamedTuple):
    """What a decoder may know of a message beside its bytes."""

    catalog: SeriesCatalog
    """Interns series; its `limits` hold for the message."""
    key: bytes | None
    """The producer's message key, which may name the service."""
    arrived: int
    """Kafka's timestamp of the message, ms: the time of samples that carry none."""

    encoding: str = ""
    """What `content-encoding` said it was, lower case; the decoder is given it unfolded."""
    size: int | None = None
    """Bytes of the message: what bounds those of its refused pieces together. None: nothing does."""

    @property
    def window(self) -> TimeWindow:
        """Times that samples may have. A format of independent pieces checks each; whole messages are checked after."""
        return self.catalog.limits.window(self.arrived)


class Points(NamedTuple):
    """Samples of one message, and the pieces of it that are refused.

    `series` are the series' indexes in the catalog, `ts` ms since the epoch, `value` the values; plain sequences for a
    handful of samples, arrays (int64[n], int64[n], float64[n]) for many.
    """

    series: Sequence[int] | npt.NDArray[np.int64]
    ts: Sequence[int] | npt.NDArray[np.int64]
    value: Sequence[float] | npt.NDArray[np.float64]
    refused: Sequence[Refused] = ()
