"""What a series is: a metric name and its labels, in one canonical form with one 64-bit identity.

The canonical bytes are JSON with sorted keys, so that anybody who reads `duri.samples` can read them:
`{"kind":"counter","labels":{"service":"duri_core"},"name":"http_requests_total","unit":""}`.
The identity hashes name and labels only: a producer that learns to say the unit keeps its series.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE_LABEL = "service"
STALE_BITS = 0x7FF0000000000002
"""Of the NaN that ends a series (prometheus/model/value: StaleNaN)."""
STALE: float = struct.unpack("<d", STALE_BITS.to_bytes(8, "little"))[0]
"""That NaN: also what a format's "no value" becomes."""


class Kind(enum.StrEnum):
    """How a series' values are to be read."""

    GAUGE = "gauge"
    COUNTER = "counter"
    BUCKET = "bucket"
    """Cumulative count of a histogram bucket; the upper bound is in the label `le`."""
    DELTA = "delta"
    """What was added since the series' previous sample: a counter that its producer starts anew for every sample."""
    DELTA_BUCKET = "delta_bucket"
    """As DELTA, of a histogram bucket; what was added below the upper bound in the label `le`."""

    @property
    def is_bucket(self) -> bool:
        """Whether the series is a histogram bucket."""
        return self in (Kind.BUCKET, Kind.DELTA_BUCKET)


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """A series in canonical form; `labels` always carries `service`."""

    name: str
    labels: dict[str, str]
    kind: Kind
    unit: str

    @property
    def service(self) -> str:
        """The service that the series belongs to."""
        return self.labels[SERVICE_LABEL]

    def canonical(self) -> bytes:
        """Canonical bytes: JSON with sorted keys."""
        return frame_of(self.name, self.kind, self.unit).canonical(spelled(self.labels))

    def identity(self) -> int:
        """uint64 hash of name and labels (BLAKE2b, 8 bytes); never 0, which marks an empty place in indexes."""
        return frame_of(self.name, self.kind, self.unit).identity(spelled(self.labels))


_encoder = msgspec.json.Encoder(order="sorted")


class Frame(NamedTuple):
    """What stands around the labels of a series; the same for all series of a name, so that only labels are encoded."""

    hashed: bytes
    """Before them in what the identity hashes: `["http_requests_total",`."""
    before: bytes
    """Before them in the canonical bytes: `{"kind":"counter","labels":`."""
    after: bytes
    """Behind them there: `,"name":"http_requests_total","unit":""}`."""

    def canonical(self, labels: bytes) -> bytes:
        """Canonical bytes of the series with these labels, as `spelled` gives them."""
        return self.before + labels + self.after

    def identity(self, labels: bytes) -> int:
        """Identity of the series with these labels, as `spelled` gives them."""
        digest = hashlib.blake2b(self.hashed + labels + b"]", digest_size=8).digest()
        return int.from_bytes(digest, "little") or 1


def frame_of(name: str, kind: Kind, unit: str) -> Frame:
    """The frame of series of this name, kind and unit."""
    text = _encoder.encode(name)
    return Frame(hashed=b"[" + text + b",", before=_opening(kind), after=b',"name":' + text + _ending(unit))


@lru_cache(maxsize=len(Kind))
def _opening(kind: Kind) -> bytes:
    return b'{"kind":' + _encoder.encode(kind) + b',"labels":'


@lru_cache(maxsize=1024)
def _ending(unit: str) -> bytes:
    return b',"unit":' + _encoder.encode(unit) + b"}"


def spelled(labels: Mapping[str, str]) -> bytes:
    """Labels as canonical bytes have them."""
    return _encoder.encode(labels)


_decoder = msgspec.json.Decoder(Series)


def parse_canonical(data: bytes) -> Series:
    """Read canonical bytes back. Raises ValueError where they are not a series."""
    try:
        series = _decoder.decode(data)
    # Invalid UTF-8 inside a text and bottomless nesting have their own exceptions.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a canonical series: {error}") from error
    if SERVICE_LABEL not in series.labels:
        raise ValueError(f"canonical series {series.name!r} carries no label {SERVICE_LABEL!r}")
    return series


def kind_of_name(name: str) -> Kind:
    """Kind by the Prometheus naming conventions, for formats that do not say (prometheus.io/docs/practices/naming)."""
    if name in _GAUGES_WITH_SUFFIX:
        return Kind.GAUGE
    if name.endswith("_bucket"):
        return Kind.BUCKET
    if name.endswith(("_total", "_count", "_sum")) or name in _COUNTERS_WITHOUT_SUFFIX:
        return Kind.COUNTER
    return Kind.GAUGE


_COUNTERS_WITHOUT_SUFFIX = frozenset(
    {
        # Counters that the guide names in their exporters' historical spelling.
        "redis_keyspace_hits",
        "redis_keyspace_misses",
        "pg_stat_database_tup_returned",
        "pg_stat_database_tup_fetched",
        "pg_stat_database_blks_hit",
        "pg_stat_database_blks_read",
        "pg_stat_database_temp_bytes",
        "pg_stat_database_temp_files",
        "pg_stat_database_xact_commit",
        "pg_stat_database_xact_rollback",
        "pg_stat_database_deadlocks",
        "pg_stat_user_tables_seq_tup_read",
        "pg_stat_user_tables_seq_scan",
        "pg_stat_user_tables_idx_scan",
    }
)
# Gauges whose names end like counters'.
_GAUGES_WITH_SUFFIX = frozenset({"pg_stat_activity_count", "pg_locks_count", "pg_locks_waiting_count"})

_UNITS = {"seconds": "s", "bytes": "By", "ratio": "1", "celsius": "Cel"}


def unit_of_name(name: str) -> str:
    """UCUM unit by Prometheus naming (`_seconds`, `_bytes`, `_ratio`), or the empty string."""
    stem = name
    for suffix in ("_total", "_bucket", "_sum", "_count"):
        stem = stem.removesuffix(suffix)
    return _UNITS.get(stem.rsplit("_", 1)[-1], "")
