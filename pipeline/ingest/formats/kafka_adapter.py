"""What prometheus-kafka-adapter writes, as JSON or Avro-JSON (the same bytes): one sample a message.

    {"value": "456", "timestamp": "1970-01-01T00:00:00Z", "name": "up", "labels": {"__name__": "up", "job": "api"}}

The value is a text and may be `NaN` or `±Inf`; the time has whole seconds, so of samples closer than a second the last
ones come out as duplicates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipeline.ingest.formats.numerals import to_float
from pipeline.ingest.parsing import has_keys, parse_json
from pipeline.ingest.points import Points
from pipeline.ingest.timestamps import to_millis

if TYPE_CHECKING:
    from pipeline.ingest.points import Context

CONTENT_TYPES = ("application/vnd.prometheus-kafka-adapter+json", "application/vnd.prometheus-kafka-adapter.avro+json")

_NAME_LABEL = "__name__"


class _Sample(msgspec.Struct, gc=False):
    value: str | float
    timestamp: str | float
    name: str
    labels: dict[str, str]


_sample = msgspec.json.Decoder(_Sample)


def sniff(payload: bytes) -> bool:
    """An object with `value`, `timestamp`, `name` and `labels`."""
    return has_keys(payload, "timestamp", "value", "name", "labels")


def decode(payload: bytes, context: Context) -> Points:
    """One sample. Raises DecodeError."""
    sample = parse_json(_sample, payload, "a sample of prometheus-kafka-adapter")
    value = to_float(sample.value) if isinstance(sample.value, str) else sample.value
    labels = {label: text for label, text in sample.labels.items() if label != _NAME_LABEL}
    series = context.catalog.intern(sample.name, labels, context.key, None, None)
    return Points((series,), (to_millis(sample.timestamp),), (value,))
