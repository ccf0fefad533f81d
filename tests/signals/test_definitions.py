"""Mistakes in signals.yaml that used to be accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.errors import SettingsError
from pipeline.signals.definitions import load_definitions

if TYPE_CHECKING:
    from pathlib import Path

MISTAKES = [
    ("signals: {}\nunwatched:\n  - ok\n  - (_info\n", 4, "unwatched.1", "is no regular expression"),
    (
        "signals:\n  a.b:\n    quantile:\n      of: x_bucket\n      q: 0.5\n      where: {le: '['}\n",
        6,
        "signals.a.b.quantile.where.le",
        "is no regular expression",
    ),
    ("signals:\n  a.b:\n    value: {of: x, where: {le: '['}}\n", 3, "where.le", "is no regular expression"),
    ("signals:\n  a.b:\n    floor: .inf\n    value: {of: x}\n", 3, "signals.a.b.floor", "finite number"),
    ("signals:\n  a.b:\n    value: {of: x, scale: .nan}\n", 3, "signals.a.b.value.scale", "finite number"),
    ("signals:\n  a.b:\n    value: {of: x}\n  a.b:\n    value: {of: y}\n", 4, "a.b", "stands in line 2 already"),
]


@pytest.mark.parametrize(("text", "line", "key", "expected"), MISTAKES)
def test_mistakes_are_named(tmp_path: Path, text: str, line: int, key: str, expected: str) -> None:
    """File, line, key and what was expected."""
    file = tmp_path / "signals.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_definitions(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{file}:{line}: ")
    assert key in message
    assert expected in message
    assert caught.value.exit_status == 2
