"""What tests of a real lab share."""

from __future__ import annotations

import os

import pytest

from lab.backends import LabError, postgres_programs, redis_program


@pytest.fixture(scope="session")
def backends() -> None:
    """What the lab needs of the machine."""
    try:
        postgres_programs()
        redis_program()
    except LabError as error:
        if os.environ.get("CI"):
            raise  # there a missing program must not look like success
        pytest.skip(f"THE LAB IS NOT TESTED: {error}")
