"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import os
import uuid
from typing import TYPE_CHECKING

import hypothesis
import pytest

from pipeline.errors import EmbeddedBrokerError
from pipeline.runtime.broker import EmbeddedBroker

if TYPE_CHECKING:
    from collections.abc import Iterator

# A busy machine is no failure: what is slow is found by benchmarks.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs Kafka, so that `-m 'not kafka'` leaves it out."""
    for item in items:
        if "kafka" in getattr(item, "fixturenames", ()):
            item.add_marker("kafka")


@pytest.fixture(autouse=True)
def _garbage_collected(request: pytest.FixtureRequest) -> Iterator[None]:
    """Futures that aiokafka left behind are logged when they are collected: by now, not while Python parses a file.

    Python 3.11 parses to print a traceback; doing so in the middle of parsing ends in a SystemError.
    """
    yield
    if {"kafka", "mortal_broker"} & set(request.fixturenames):
        gc.collect()


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Address of one Kafka for the whole session: DURI_BOOTSTRAP, else an embedded one."""
    if own := os.environ.get("DURI_BOOTSTRAP"):
        yield own
        return
    try:
        broker = EmbeddedBroker().start()
    except EmbeddedBrokerError as error:
        if os.environ.get("CI"):
            raise  # there a missing broker must not look like success
        pytest.skip(f"NO KAFKA, SO NOTHING ABOUT KAFKA IS TESTED: {error}")
    with broker:
        yield broker.bootstrap


@pytest.fixture
def topic_prefix(request: pytest.FixtureRequest) -> str:
    """Beginning for the names of this test's topics, groups and transactional ids: no other test has it."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return f"{name[:40]}-{uuid.uuid4().hex[:8]}-"
