"""Who calls whom: the service graph that incidents are grouped along and causes are looked for in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.configfile import load_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

DEFAULT_SYSTEM = "default"


class ServiceEntry(BaseModel):
    """A service as the topology file names it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calls: list[str] = Field(default_factory=list, description="Services that this one calls")
    system: str | None = Field(default=None, min_length=1, description="System it belongs to")


class TopologyFile(BaseModel):
    """`topology.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    systems: Literal["default", "connected"] = Field(
        default="default", description="System of a service without one: the default, or its connected component"
    )
    services: dict[str, ServiceEntry] = Field(default_factory=dict)


class Topology:
    """The service graph. Services that it does not know have no neighbours and belong to the default system."""

    def __init__(
        self, calls: Mapping[str, Iterable[str]] | None = None, systems: Mapping[str, str] | None = None
    ) -> None:
        self._callees: dict[str, tuple[str, ...]] = {}
        neighbours: dict[str, set[str]] = {}
        for caller, callees in (calls or {}).items():
            others = tuple(sorted(set(callees) - {caller}))
            self._callees[caller] = others
            neighbours.setdefault(caller, set()).update(others)
            for callee in others:
                neighbours.setdefault(callee, set()).add(caller)
        self._neighbours = {name: tuple(sorted(others)) for name, others in neighbours.items()}
        self._systems = dict(systems or {})

    @property
    def services(self) -> tuple[str, ...]:
        """Every service of the graph, sorted."""
        return tuple(sorted(self._neighbours))

    def callees(self, service: str) -> tuple[str, ...]:
        """Services that this one calls, sorted."""
        return self._callees.get(service, ())

    def neighbours(self, service: str) -> tuple[str, ...]:
        """Callers and callees, sorted."""
        return self._neighbours.get(service, ())

    def system_of(self, service: str) -> str:
        """System that the service belongs to: the key of its frames."""
        return self._systems.get(service, DEFAULT_SYSTEM)

    def reach(self, services: Iterable[str], limit: int) -> list[str]:
        """These services and all that they call, directly or not: nearest first, `limit` at most."""
        found = dict.fromkeys(sorted(services))
        queue = list(found)
        for service in queue:
            for callee in self.callees(service):
                if len(found) >= limit:
                    return list(found)[:limit]
                if callee not in found:
                    found[callee] = None
                    queue.append(callee)
        return list(found)

    def groups(self, services: Iterable[str]) -> list[list[str]]:
        """These services in parts that hang together by direct calls among themselves; all sorted."""
        left = set(services)
        parts = []
        for start in sorted(left):
            if start not in left:
                continue
            left.discard(start)
            part = [start]
            for service in part:
                found = [other for other in self.neighbours(service) if other in left]
                left.difference_update(found)
                part.extend(found)
            parts.append(sorted(part))
        return parts


def load_topology(path: Path) -> Topology:
    """The graph in this file. Raises SettingsError that names file, line and key."""
    model = load_model(path, TopologyFile)
    calls = {name: entry.calls for name, entry in model.services.items()}
    systems = {name: entry.system for name, entry in model.services.items() if entry.system}
    if model.systems == "connected":
        graph = Topology(calls)
        for part in graph.groups(graph.services):
            systems = {**dict.fromkeys(part, part[0]), **systems}
    return Topology(calls, systems)
