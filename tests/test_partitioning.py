from __future__ import annotations

from aiokafka.partitioner import murmur2 as reference
from hypothesis import given
from hypothesis import strategies as st

from pipeline.partitioning import murmur2, partition_of


@given(st.binary(max_size=64))
def test_murmur2_equals_the_clients(key: bytes) -> None:
    """Our hash is Kafka's: keyed records of any client and ours land in the same partition."""
    assert murmur2(key) == reference(key) & 0xFFFFFFFF


@given(st.binary(max_size=20), st.integers(1, 1000))
def test_partition_is_in_range(key: bytes, partitions: int) -> None:
    """Every key has a partition."""
    assert 0 <= partition_of(key, partitions) < partitions
