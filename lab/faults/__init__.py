"""The faults by name."""

from __future__ import annotations

from lab.faults.blocking_call import BlockingCall
from lab.faults.cache_off import CacheOff
from lab.faults.connection_leak import ConnectionLeak
from lab.faults.controls import Busier, DailySwing, ExporterStops, Healthy, PlannedLoadTest, Quieter
from lab.faults.cpu_limit import CpuLimit
from lab.faults.dead_tuples import DeadTuples
from lab.faults.disk_filling import DiskFilling
from lab.faults.failing_deploy import FailingDeploy
from lab.faults.fault import Fault
from lab.faults.idle_in_transaction import IdleInTransaction
from lab.faults.memory_leak import MemoryLeak
from lab.faults.memory_limit import MemoryLimit
from lab.faults.missing_index import MissingIndex
from lab.faults.pool_too_small import PoolTooSmall
from lab.faults.redis_client_leak import RedisClientLeak
from lab.faults.redis_fsync import RedisFsync
from lab.faults.redis_maxmemory import RedisMaxmemory
from lab.faults.redis_noeviction import RedisNoeviction
from lab.faults.shared_buffers import SharedBuffers
from lab.faults.slow_deploy import SlowDeploy
from lab.faults.slow_downstream import SlowDownstream
from lab.faults.slow_replica import SlowReplica
from lab.faults.traffic_surge import TrafficSurge
from lab.faults.work_mem import WorkMem

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        PoolTooSmall(),
        BlockingCall(),
        CacheOff(),
        CpuLimit(),
        MemoryLimit(),
        MemoryLeak(),
        TrafficSurge(),
        SlowReplica(),
        DiskFilling(),
        MissingIndex(),
        WorkMem(),
        SharedBuffers(),
        ConnectionLeak(),
        IdleInTransaction(),
        DeadTuples(),
        RedisMaxmemory(),
        RedisNoeviction(),
        RedisFsync(),
        RedisClientLeak(),
        SlowDeploy(),
        FailingDeploy(),
        SlowDownstream(),
        Healthy(),
        Busier(),
        Quieter(),
        DailySwing(),
        PlannedLoadTest(),
        ExporterStops(),
    )
}

__all__ = ["FAULTS", "Fault"]
