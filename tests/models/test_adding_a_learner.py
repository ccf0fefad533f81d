"""The page "Add a learner" tells the truth."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models import checks

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-learner.md").read_text()


def learner():
    """The class that the page shows."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {"__name__": "adding_a_learner"}
    exec(code, names)  # noqa: S102  our own page
    return names["Last"]


@pytest.mark.parametrize("check", checks.CHECKS)
def test_the_example_passes_every_check(check):
    """What a reader copies is a learner."""
    check(learner())


def test_the_page_fits_on_one_screen():
    """Sixty lines."""
    assert len(PAGE.splitlines()) <= 60
