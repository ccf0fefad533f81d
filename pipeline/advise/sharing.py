"""What several services use together: one PostgreSQL, one Redis, one host. A change to it is one recommendation.

Where exporters' metrics are labelled with each service that uses the server, a rule holds for all of them at once. That
it is one server shows in its signals: of each service they are the same, to the last digit. So all services of the
interval are asked, whether anything is wrong with them or not: a change to the server is a change for each.

Signals that are nothing but zeros and ones (a server that is down) are the same of any two servers: they tell only
within one incident.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pipeline.advise.frames import Frame
    from pipeline.advise.rules.judge import Match

    Readings = tuple[float | None, ...]

_SIGNALS: Final = {"postgresql": "pg.", "redis": "redis.", "node": "node."}
"""Components that services share, each with how the names of its signals begin."""
_TELL_NOTHING: Final = frozenset({None, 0.0, 1.0})


def of_component(component: str, signals: Iterable[str]) -> list[str]:
    """Those of the signals that all who share it have in common."""
    prefix = _SIGNALS.get(component)
    return [] if prefix is None else [name for name in signals if name.startswith(prefix)]


class Sharing:
    """Who shares what in one interval; each component is looked at when it is first asked for."""

    def __init__(self, frames: Mapping[str, Frame], signals: Iterable[str]) -> None:
        names = sorted(signals)
        self._frames = frames
        self._signals = {component: tuple(of_component(component, names)) for component in _SIGNALS}
        self._services: dict[str, dict[Readings, list[str]]] = {}

    def heard(self, service: str) -> bool:
        """Whether the service has a frame in this interval."""
        return service in self._frames

    def merged(self, matches: Iterable[Match], stands: Callable[[Match], bool]) -> list[Match]:
        """One match for each thing to change, with all services that it is for; in the order in which they came.

        It stays on the service of which a recommendation stands already; else it is on the first.
        """
        groups: dict[tuple[object, ...], list[Match]] = {}
        for match in matches:
            groups.setdefault(self._thing(match), []).append(match)
        return [self._together(group, stands) for group in groups.values()]

    def _thing(self, match: Match) -> tuple[object, ...]:
        rule, readings = match.entry.rule, self._readings(match.entry.rule.target.component, match.facts.frame)
        return (rule.id, readings) if any(each is not None for each in readings) else (rule.id, match.facts.service)

    def _together(self, group: list[Match], stands: Callable[[Match], bool]) -> Match:
        chosen = next(filter(stands, group), group[0])
        matched = {match.facts.service for match in group}
        services = sorted(matched.union(self._alike(chosen)))
        return replace(chosen, services=tuple(services)) if len(services) > 1 else chosen

    def _alike(self, match: Match) -> list[str]:
        """All services whose signals of what would be changed are the same, where these tell servers apart."""
        component = match.entry.rule.target.component
        readings = self._readings(component, match.facts.frame)
        if _TELL_NOTHING.issuperset(readings):
            return []
        if component not in self._services:
            found = self._services[component] = {}
            for service, frame in self._frames.items():
                found.setdefault(self._readings(component, frame), []).append(service)
        return self._services[component].get(readings, [])

    def _readings(self, component: str, frame: Frame) -> Readings:
        """Its signals of a component, in one order; none of what no two services share."""
        known = (frame.signals.get(name) for name in self._signals.get(component, ()))
        return tuple(None if signal is None else signal.value for signal in known)
