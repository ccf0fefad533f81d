"""Regular expressions in configuration files, checked when they are read."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator


def valid_pattern(pattern: str) -> str:
    """The pattern itself, checked. Raises ValueError that says what is wrong with it."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    return pattern


Pattern = Annotated[str, AfterValidator(valid_pattern)]
"""A regular expression, matched against the whole text."""
