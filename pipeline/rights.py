"""What Kafka's refusals for want of rights mean: which right is missing, and so what to grant."""

from __future__ import annotations

from typing import Final

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

_RIGHTS: Final[dict[type[Exception], str]] = {
    TopicAuthorizationFailedError: "Read, Write and Describe on the topics",
    GroupAuthorizationFailedError: "Read on the groups that begin with runtime.group",
    TransactionalIdAuthorizationFailed: "Write and Describe on the transactional ids that begin with runtime.group",
    ClusterAuthorizationFailedError: "IdempotentWrite on the cluster",
}


def missing_right(error: BaseException) -> str | None:
    """What to grant the user so that this does not happen again; None of other errors."""
    return next((right for kind, right in _RIGHTS.items() if isinstance(error, kind)), None)


def told(error: BaseException) -> str:
    """The error as it goes into a message of ours, with the remedy where it is a missing right."""
    right = missing_right(error)
    return repr(error) if right is None else f"{error!r}: the user lacks a right; grant it {right} (kafka-acls --add)"
