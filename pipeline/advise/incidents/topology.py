"""Who calls whom: the service graph that incidents are grouped along and causes are looked for in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
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


class LearnedCalls(msgspec.Struct):
    """Calls that span metrics told of, by caller and callee, with when they were last seen (ms)."""

    seen: dict[str, dict[str, int]] = {}


class Topology:
    """The service graph: what the file says, and what was learned since.

    Services that it does not know have no neighbours and belong to the default system.
    """

    def __init__(
        self, calls: Mapping[str, Iterable[str]] | None = None, systems: Mapping[str, str] | None = None
    ) -> None:
        self.learned = LearnedCalls()
        self._told = {caller: tuple(callees) for caller, callees in (calls or {}).items()}
        self._systems = dict(systems or {})
        self._build()

    def copy(self) -> Topology:
        """A graph of its own that knows what the file says."""
        return Topology(self._told, self._systems)

    def learn(self, calls: Iterable[tuple[str, str]], at_ms: int, limit: int) -> None:
        """Take note of calls that were seen; new ones beyond `limit` callers are not taken in."""
        seen = self.learned.seen
        fresh = False
        for client, server in calls:
            callees = seen.get(client)
            if callees is None:
                if len(seen) >= limit:
                    continue
                callees = seen[client] = {}
            fresh |= server not in callees and server not in self._callees.get(client, ())
            if server in callees or len(callees) < limit:
                callees[server] = at_ms
        if fresh:
            self._build()

    def forget(self, before_ms: int) -> None:
        """Drop learned calls that were not seen since then."""
        kept = {
            client: {server: at for server, at in callees.items() if at >= before_ms}
            for client, callees in self.learned.seen.items()
        }
        kept = {client: callees for client, callees in kept.items() if callees}
        if kept != self.learned.seen:
            self.learned.seen = kept
            self._build()

    def restore(self, learned: LearnedCalls) -> None:
        """Go on from what was learned before."""
        self.learned = learned
        self._build()

    def _build(self) -> None:
        calls = {
            caller: {*self._told.get(caller, ()), *self.learned.seen.get(caller, ())}
            for caller in [*self._told, *self.learned.seen]
        }
        self._callees = {caller: tuple(sorted(callees - {caller})) for caller, callees in calls.items()}
        neighbours: dict[str, set[str]] = {}
        for caller, others in self._callees.items():
            neighbours.setdefault(caller, set()).update(others)
            for callee in others:
                neighbours.setdefault(callee, set()).add(caller)
        self._neighbours = {name: tuple(sorted(others)) for name, others in neighbours.items()}
        parts = self.groups(self._neighbours)
        self._components = {service: number for number, part in enumerate(parts) for service in part if len(part) > 1}

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

    def component(self, service: str) -> int | None:
        """Number of the part of the graph that hangs together with this service; None where it stands alone."""
        return self._components.get(service)

    def deepest(self, services: Iterable[str]) -> str | None:
        """The first by name of these services that calls none of the others; None where there are none."""
        names = sorted(services)
        behind = [name for name in names if not set(names).intersection(self.callees(name))]
        return next(iter(behind or names), None)

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
