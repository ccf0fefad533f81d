"""Mistakes in signals.yaml that used to be accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.errors import SettingsError
from pipeline.signals.definitions import load_definitions

if TYPE_CHECKING:
    from pathlib import Path

ONE = "signals:\n  a.b:\n    value: {of: x_seconds}\n"
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
    (
        ONE + "aliases:\n  x_seconds:\n    - {name: y, unit: parsec}\n",
        6,
        "aliases.x_seconds.0",
        "unit 'parsec' is none of",
    ),
    (
        ONE + "aliases:\n  x_seconds:\n    - {name: y, unit: MBy}\n",
        6,
        "aliases.x_seconds.0.unit",
        "cannot be turned into 's'",
    ),
    (
        ONE + "aliases:\n  x_seconds:\n    - {name: y, unit: ms, scale: 2}\n",
        6,
        "aliases.x_seconds.0",
        "keep one of them",
    ),
    (ONE + "aliases:\n  x_seconds:\n    - {unit: ms}\n", 6, "aliases.x_seconds.0", "exactly one of name and names"),
    (ONE + "aliases:\n  x_seconds:\n    - {name: y, where: {a: '['}}\n", 6, "where.a", "is no regular expression"),
    (ONE + "aliases:\n  x_seconds:\n    - name: y\n      lables: {a: b}\n", 7, "lables", "Extra inputs"),
    (ONE + "aliases:\n  x_seconds:\n    - {name: x_seconds}\n", 6, "aliases.x_seconds.0", "no alias of its own name"),
    (ONE + "aliases:\n  x_second:\n    - {name: y}\n", 5, "aliases.x_second", "did you mean x_seconds?"),
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
