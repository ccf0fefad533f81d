"""What several services use together: one PostgreSQL, one Redis, one host. A change to it is one recommendation.

Where exporters' metrics are labelled with each service that uses the server, a rule holds for all of them at once. That
it is one server shows in its signals: of each service they are the same, to the last digit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.advise.rules.judge import Match

_SIGNALS: Final = {"postgresql": "pg.", "redis": "redis.", "node": "node."}
"""Components that services share, each with how the names of its signals begin."""


def merged(matches: Iterable[Match], stands: Callable[[Match], bool]) -> list[Match]:
    """One match for each thing to change, with all the services that it is for; in the order in which they came.

    It stays on the service of which a recommendation stands already; else it is on the first.
    """
    groups: dict[tuple[object, ...], list[Match]] = {}
    for match in matches:
        groups.setdefault(_thing(match), []).append(match)
    return [_together(group, stands) for group in groups.values()]


def _thing(match: Match) -> tuple[object, ...]:
    rule, signals = match.entry.rule, match.facts.signals()
    prefix = _SIGNALS.get(rule.target.component)
    told = () if prefix is None else tuple(sorted(each for each in signals.items() if each[0].startswith(prefix)))
    return (rule.id, *told) if told else (rule.id, match.facts.service)


def _together(group: list[Match], stands: Callable[[Match], bool]) -> Match:
    if len(group) == 1:
        return group[0]
    chosen = next(filter(stands, group), group[0])
    return replace(chosen, services=tuple(sorted(match.facts.service for match in group)))
