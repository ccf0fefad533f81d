from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.installation import Installation
from tests.offline.dataset import flowed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.offline.dataset.flowed import Flowed


@pytest.fixture(scope="package")
def past(kafka: str) -> Flowed:
    """Three hours of the generated system on a Kafka."""
    history = flowed.history(flowed.new_prefix(), kafka)
    flowed.create(history.settings)
    flowed.publish(history.settings, history.outputs)
    return history


@pytest.fixture(scope="package")
def installation(past: Flowed) -> Installation:
    """The command `duri` on that history."""
    return Installation(past.settings.kafka.bootstrap, past.settings.topics.prefix)


@pytest.fixture(scope="package")
def exported(past: Flowed, installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001  the history must be there
    """All of it as a dataset."""
    folder = tmp_path_factory.mktemp("exported") / "data"
    done = installation.command("dataset", "export", "--out", str(folder))
    assert done.returncode == 0, done.stderr
    return folder
