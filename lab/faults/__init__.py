"""The faults by name."""

from __future__ import annotations

from lab.faults.blocking_call import BlockingCall
from lab.faults.cache_off import CacheOff
from lab.faults.controls import Busier, Healthy, Quieter
from lab.faults.cpu_limit import CpuLimit
from lab.faults.failing_deploy import FailingDeploy
from lab.faults.fault import Fault
from lab.faults.idle_in_transaction import IdleInTransaction
from lab.faults.missing_index import MissingIndex
from lab.faults.pool_too_small import PoolTooSmall
from lab.faults.redis_maxmemory import RedisMaxmemory
from lab.faults.redis_noeviction import RedisNoeviction
from lab.faults.slow_deploy import SlowDeploy
from lab.faults.slow_downstream import SlowDownstream

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        PoolTooSmall(),
        BlockingCall(),
        CacheOff(),
        CpuLimit(),
        RedisMaxmemory(),
        RedisNoeviction(),
        MissingIndex(),
        SlowDeploy(),
        FailingDeploy(),
        SlowDownstream(),
        IdleInTransaction(),
        Healthy(),
        Busier(),
        Quieter(),
    )
}

__all__ = ["FAULTS", "Fault"]
