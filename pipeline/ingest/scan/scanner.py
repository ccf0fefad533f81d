"""Scans many messages of one form in one call, and keeps what decoders have met."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pipeline.ingest.scan.json_sample import scan_samples
from pipeline.ingest.scan.known import KnownBytes
from pipeline.ingest.scan.otlp import scan_otlp_requests
from pipeline.ingest.scan.remote_write import scan_requests_2, scan_write_requests
from pipeline.ingest.scan.rows import make_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

_ROW_BYTES = 4
"""No row comes of fewer bytes, but a JSON sample's: a bucket of eight may tell its start besides."""


class Form(enum.IntEnum):
    """What a message may be scanned as."""

    NONE = 0
    JSON_SAMPLE = 1
    OTLP = 2
    REMOTE_WRITE = 3
    REMOTE_WRITE_2 = 4


# One kernel a form, so that a worker compiles those only that it needs.
_KERNELS: Final[dict[Form, Callable[..., None]]] = {
    Form.JSON_SAMPLE: scan_samples,
    Form.OTLP: scan_otlp_requests,
    Form.REMOTE_WRITE: scan_write_requests,
    Form.REMOTE_WRITE_2: scan_requests_2,
}


class Candidates(NamedTuple):
    """n messages to scan: their bytes (none for one that is not to be scanned), their keys, their windows.

    earliest and latest int64[n], ms; reset_ms: see `Message`.
    """

    payloads: Sequence[bytes]
    keys: Sequence[bytes | None]
    earliest: npt.NDArray[np.int64]
    latest: npt.NDArray[np.int64]
    reset_ms: int


class Scanned(NamedTuple):
    """What was found in n messages.

    ends int64[n]: rows up to and with each message; taken bool[n]: whether it was taken as a whole, or left to its
    decoder. series int64[m] (in the catalog), ts int64[m] ms, value float64[m]: the rows.
    """

    ends: npt.NDArray[np.int64]
    taken: npt.NDArray[np.bool_]
    series: npt.NDArray[np.int64]
    ts: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]


class Scanner:
    """Reads messages of the series in `known`, which decoders fill."""

    def __init__(self) -> None:
        self.known = KnownBytes()

    def scan(self, form: Form, candidates: Candidates) -> Scanned:
        """Read these messages, all of one form."""
        n = len(candidates.payloads)
        results = np.zeros((n, 2), dtype=np.int64)
        text = np.frombuffer(b"".join(candidates.payloads), dtype=np.uint8)
        rows = make_rows(n + len(text) // _ROW_BYTES, len(text))
        if form is not Form.NONE:
            places = np.empty((n, 5), dtype=np.int64)
            places[:, 0] = np.fromiter(map(len, candidates.payloads), dtype=np.int64, count=n).cumsum()
            places[:, 1] = np.fromiter(map(bool, candidates.keys), dtype=bool, count=n) if any(candidates.keys) else 0
            places[:, 2], places[:, 3], places[:, 4] = candidates.earliest, candidates.latest, candidates.reset_ms
            _KERNELS[form](text, places, self.known.arrays, rows, results)
        used = int(rows.used[0])
        series, ts, bits = rows.found[:, :used]
        return Scanned(results[:, 0], results[:, 1].astype(bool), series, ts, bits.view(np.float64))
