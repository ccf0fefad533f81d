"""Which services travel together, so that a fast replay keeps the order of time.

Services that share a partition of `duri.samples` share its clock there: if one of them ran ahead by hours, as it
may when days are published in seconds, the samples of the others would come too late for their frames. So the
services of one such partition, a lane, are published interleaved by time into one partition of `duri.metrics`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.partitioning import partition_of

if TYPE_CHECKING:
    from collections.abc import Iterable


def lane_of(service: str, lanes: int) -> int:
    """The service's partition of `duri.samples`, of so many."""
    return partition_of(service.encode(), lanes)


def by_lane(services: Iterable[str], lanes: int) -> dict[int, list[str]]:
    """The services of each lane that has any, in the order given."""
    found: dict[int, list[str]] = {}
    for service in services:
        found.setdefault(lane_of(service, lanes), []).append(service)
    return found
