"""Conformance runs are long and need Go, Prometheus and node_exporter: what is missing is a failure that says so."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from conformance.installation import Conformance
from pipeline.runtime.broker import EmbeddedBroker
from tests.conftest import topic_prefix  # noqa: F401  a fixture

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Address of one Kafka for the whole session: DURI_BOOTSTRAP, else an embedded one."""
    if own := os.environ.get("DURI_BOOTSTRAP"):
        yield own
        return
    with EmbeddedBroker() as broker:
        yield broker.bootstrap


@pytest.fixture
def there(kafka: str, topic_prefix: str) -> Conformance:  # noqa: F811
    """An installation with topics of its own."""
    return Conformance(kafka, topic_prefix)
