"""How every knob of a lab stands: what its owners have set in services, limits, PostgreSQL and Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.system import Lab, Replica

# Not what follows from others: sizes that PostgreSQL computes, and whether a restart is due.
_POSTGRES = "SELECT name, setting FROM pg_settings WHERE context <> 'internal' ORDER BY name"


async def knobs_of(lab: Lab) -> dict[str, str]:
    """Each knob's value by its name, as the part that has it says."""
    found = {f"postgres {name}": str(setting) for name, setting in await lab.rows(_POSTGRES)}
    found |= {f"redis {name}": value for name, value in lab.redis.settings().items()}
    for service, replicas in lab.services.items():
        found[f"{service} replicas"] = str(len(replicas))
        found[f"{service} version"] = " ".join(f"{name}={value}" for name, value in lab.versions[service][0].items())
        found[f"{service} balancing"] = "least connections" if lab.balancers[service].least_connections else "in turn"
        # One replica stands for all: what sets them sets each.
        found |= {f"{service} {name}": value for name, value in (await _of_replica(lab, replicas[0])).items()}
    return found


def turned(before: dict[str, str], after: dict[str, str]) -> dict[str, list[str | None]]:
    """The knobs that differ, each with its value before and after."""
    names = sorted(before.keys() | after.keys())
    return {name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)}


def as_before(differing: dict[str, list[str | None]]) -> str:
    """In words, whether an undo has left every knob as it was before the change; which differ where it has not."""
    if not differing:
        return "every knob as before"
    each = (f"{name} {before or 'none'} → {after or 'none'}" for name, (before, after) in differing.items())
    return f"not as before: {', '.join(each)}"


async def _of_replica(lab: Lab, replica: Replica) -> dict[str, str]:
    limits = replica.limits
    held = {} if limits is None else {"cpu limit": f"{limits.cores:g}", "memory limit": str(limits.memory)}
    return held | await lab.settings(replica)
