"""Who calls whom, as span metrics tell it: requests per second by client and server.

OpenTelemetry's service graph connector and Tempo write `traces_service_graph_request_total{client, server}`; which
service's frame carries them does not matter, for the pair names both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pipeline.signals.advance import GAUGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from pipeline.series import Series
    from pipeline.signals.definitions import CallTerm

_NOBODY: Final = frozenset({"", "user", "unknown"})
"""Names of virtual nodes: somebody outside who is not instrumented."""


class CallRate(NamedTuple):
    """Requests per second from one service to another."""

    client: str
    server: str
    rps: float


class _Member(NamedTuple):
    row: int
    client: str
    server: str


class CallRates:
    """The series that count calls, by slot."""

    def __init__(self, terms: Iterable[CallTerm]) -> None:
        self._terms: Mapping[str, CallTerm] = {term.of: term for term in terms}
        self._members: dict[int, _Member] = {}

    def add(self, slot: int, series: Series, row: int) -> bool:
        """Let a new series of the service in this row take part; whether it counts calls."""
        term = self._terms.get(series.name)
        if term is None:
            return False
        client, server = series.labels.get(term.client, ""), series.labels.get(term.server, "")
        if client in _NOBODY or server in _NOBODY or client == server:
            return False
        self._members[slot] = _Member(row, client, server)
        return True

    def remove(self, slots: set[int]) -> None:
        """These series are gone."""
        for slot in slots & self._members.keys():
            del self._members[slot]

    def renumber(self, slots: Mapping[int, int]) -> None:
        """Series have other slots now: the new one by the old."""
        self._members = {slots[slot]: member for slot, member in self._members.items()}

    def evaluate(self, rows: npt.NDArray[np.void]) -> dict[int, Sequence[CallRate]]:
        """By service row, the pairs that called in the frame that the store's `rows` have collected, sorted."""
        if not self._members:
            return {}
        slots = np.array(sorted(self._members), dtype=np.int32)
        chosen = rows[slots]
        counting = (chosen["elapsed"] > 0) & (chosen["kind"] != GAUGE) & (chosen["increase"] > 0)
        rates = chosen["increase"][counting] / chosen["elapsed"][counting] * 1000.0
        found: dict[int, dict[tuple[str, str], float]] = {}
        for slot, rate in zip(slots[counting].tolist(), rates.tolist(), strict=True):
            row, client, server = self._members[slot]
            pairs = found.setdefault(row, {})
            pairs[client, server] = pairs.get((client, server), 0.0) + rate
        return {
            row: [CallRate(client, server, rps) for (client, server), rps in sorted(pairs.items())]
            for row, pairs in found.items()
        }
