"""Which partition a key belongs to: murmur2, as Kafka's default partitioner has it.

Our own small copy of the algorithm (Austin Appleby's MurmurHash2, as in Kafka's `Utils.murmur2`), because the
stages may not import a Kafka client; a test holds it to aiokafka's.
"""

from __future__ import annotations

from functools import lru_cache

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """32-bit MurmurHash2 with Kafka's seed."""
    length = len(data)
    h = (0x9747B28C ^ length) & _MASK
    body = length & ~3
    for at in range(0, body, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        k ^= k >> 24
        h = (h * _M & _MASK) ^ (k * _M & _MASK)
    if length > body:
        h ^= int.from_bytes(data[body:], "little")
        h = h * _M & _MASK
    h ^= h >> 13
    h = h * _M & _MASK
    return h ^ (h >> 15)


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition that Kafka's default partitioner gives this key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
