"""The processes that matter on this machine, by name, named as process-exporter (namedprocess) names them.

Processes of one name are a group. Its counters never fall: what a process has used stays with its group when it ends.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import psutil

from pipeline.sources.collecting import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "namedprocess_namegroup"
_ATTRIBUTES = ["pid", "name", "create_time", "cpu_times", "memory_info", "num_threads"]
_SHOWN_PER_TOP = 4
"""Times `top` groups are shown at most, so that one that leaves the top for a while is not cut off."""


class _Process(NamedTuple):
    """A process by what no other ever shares with it."""

    pid: int
    created: float


@dataclass(slots=True)
class _Group:
    """What the processes of one name use now, and have used since the group was first met."""

    processes: int = 0
    threads: int = 0
    resident: int = 0
    virtual: int = 0
    oldest: float = 0.0
    used: Counter[str] = field(default_factory=Counter)
    """Totals: CPU seconds by mode, bytes read and written."""
    recent_s: float = 0.0
    """CPU seconds since the reading before."""
    members: list[psutil.Process] = field(default_factory=list)


class ProcessGroups:
    """Reads the groups that use most: the `top` by CPU since the last reading, and the `top` by memory."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._groups: dict[str, _Group] = {}
        self._before: dict[_Process, Counter[str]] = {}
        self._shown: dict[str, None] = {}
        """Names shown, the one that was in the top longest ago first."""

    def read(self) -> Iterator[Reading]:
        """The groups as they are now."""
        self._look()
        self._choose()
        for name in self._shown:
            yield from _readings(name, self._groups[name])

    def _look(self) -> None:
        for group in self._groups.values():
            group.processes = group.threads = group.resident = group.virtual = 0
            group.recent_s = group.oldest = 0.0
            group.members = []
        seen: dict[_Process, Counter[str]] = {}
        for process in psutil.process_iter(_ATTRIBUTES, ad_value=None):
            if process.info["cpu_times"] is not None and process.info["memory_info"] is not None:
                self._add(process, seen)
        self._before = seen
        ended = [name for name, group in self._groups.items() if not group.processes]
        for name in ended:
            del self._groups[name]
            self._shown.pop(name, None)

    def _add(self, process: psutil.Process, seen: dict[_Process, Counter[str]]) -> None:
        info = process.info
        group = self._groups.setdefault(_group_name(info["name"] or "?", info["memory_info"].rss), _Group())
        group.processes += 1
        group.threads += info["num_threads"] or 0
        group.resident += info["memory_info"].rss
        group.virtual += info["memory_info"].vms
        group.oldest = min(group.oldest or info["create_time"], info["create_time"])
        group.members.append(process)
        identity = _Process(info["pid"], info["create_time"])
        used = Counter({"user": info["cpu_times"].user, "system": info["cpu_times"].system})
        grown = used - self._before.get(identity, Counter())
        group.used += grown
        group.recent_s += sum(grown.values())
        seen[identity] = used

    def _choose(self) -> None:
        by_cpu = sorted(self._groups, key=lambda name: self._groups[name].recent_s, reverse=True)
        by_memory = sorted(self._groups, key=lambda name: self._groups[name].resident, reverse=True)
        for name in (*by_cpu[: self._top], *by_memory[: self._top]):
            self._shown.pop(name, None)
            self._shown[name] = None
        while len(self._shown) > _SHOWN_PER_TOP * self._top:
            del self._shown[next(iter(self._shown))]


def _group_name(name: str, resident: int) -> str:
    """Kernel threads have no memory, and their names go on after a slash: kworker/0:1-events is kworker."""
    return name if resident else name.partition("/")[0]


def _readings(name: str, group: _Group) -> Iterator[Reading]:
    labels = {"groupname": name}
    for mode in ("user", "system"):
        yield Reading(f"{_PREFIX}_cpu_seconds_total", {**labels, "mode": mode}, group.used[mode], "counter")
    for memtype, size in (("resident", group.resident), ("virtual", group.virtual)):
        yield Reading(f"{_PREFIX}_memory_bytes", {**labels, "memtype": memtype}, size)
    yield Reading(f"{_PREFIX}_num_procs", labels, group.processes)
    yield Reading(f"{_PREFIX}_num_threads", labels, group.threads)
    yield Reading(f"{_PREFIX}_oldest_start_time_seconds", labels, group.oldest)
    descriptors = _descriptors(group)
    if descriptors is not None:
        yield Reading(f"{_PREFIX}_open_filedesc", labels, descriptors)


def _descriptors(group: _Group) -> int | None:
    """Open file descriptors of all members; None where one may not be looked at, or has just ended."""
    try:
        return sum(int(process.num_fds()) for process in group.members)
    except (psutil.Error, AttributeError):
        return None
