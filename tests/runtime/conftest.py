"""A broker that these tests may kill, and a worker in the test's own event loop."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pipeline.errors import EmbeddedBrokerError
from pipeline.runtime.broker import EmbeddedBroker

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package")
def mortal_broker() -> Iterator[EmbeddedBroker]:
    """A broker of our own: it may be killed, and notices dead workers within two seconds."""
    try:
        broker = EmbeddedBroker(settings={"group.min.session.timeout.ms": "1000"}).start()
    except EmbeddedBrokerError as error:
        if os.environ.get("CI"):
            raise  # there a missing broker must not look like success
        pytest.skip(f"NO KAFKA TO KILL, SO NO CRASH IS TESTED: {error}")
    with broker:
        yield broker
