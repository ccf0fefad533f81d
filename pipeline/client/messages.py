"""Columnar JSON messages, the series once and then columns (docs/formats.md), one service a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pipeline.client.registry import by_service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.client.registry import Registry, SeriesKey

CONTENT_TYPE = "application/vnd.duri.columnar+json"

_MOST_ROWS = 2000
"""Rows a message, well below the broker's limit of 1 MB."""
_encode = msgspec.json.Encoder().encode


class Message(NamedTuple):
    """A message ready to be sent: the service is its key."""

    service: str
    value: bytes
    samples: int


class Raw(NamedTuple):
    """One sample as it was given; `ts` in ms."""

    series: SeriesKey
    ts: int
    value: float


class Snapshots:
    """Messages of a registry's values; the part that names the series is made anew only when there are new ones."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known = 0
        self._groups: list[tuple[str, list[int], bytes]] = []

    def take(self, ts: int) -> list[Message]:
        """All values now, as of `ts` (ms)."""
        series, values = self._registry.snapshot()
        if len(series) != self._known:
            self._known = len(series)
            self._groups = [
                (service, places, _section([series[place] for place in places]))
                for service, places in by_service(series, _MOST_ROWS)
            ]
        return [
            _message(service, section, b"%d" % ts, [values[place] for place in places])
            for service, places, section in self._groups
        ]


def raw_messages(samples: Sequence[Raw]) -> Iterator[Message]:
    """Messages of these samples; those of one series keep their order."""
    for service, places in by_service([sample.series for sample in samples], _MOST_ROWS):
        rows = [samples[place] for place in places]
        index: dict[SeriesKey, int] = {}
        of_row = [index.setdefault(row.series, len(index)) for row in rows]
        section = _section(list(index)) + b',"index":' + _encode(of_row)
        yield _message(service, section, _encode([row.ts for row in rows]), [row.value for row in rows])


def _section(series: Sequence[SeriesKey]) -> bytes:
    return _encode([{"name": one.name, "labels": dict(one.labels), "kind": one.kind} for one in series])


def _message(service: str, section: bytes, ts: bytes, values: Sequence[float]) -> Message:
    return Message(service, b'{"series":%b,"ts":%b,"value":%b}' % (section, ts, _encode(values)), len(values))
