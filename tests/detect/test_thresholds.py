"""Mistakes in thresholds.yaml that used to be accepted, or told without their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.configfile import shipped_config
from pipeline.detect.detectors.thresholds import load_thresholds
from pipeline.errors import SettingsError
from pipeline.signals.definitions import load_definitions

if TYPE_CHECKING:
    from pathlib import Path

MISTAKES = [
    (
        "rules:\n  a:\n    {signal: http.rps, above: .nan, for: 1m, severity: info}\n",
        3,
        "rules.a.above: ",
        "finite number",
    ),
    (
        "rules:\n  a:\n    {signal: http.rsp, above: 1, for: 1m, severity: info}\n",
        3,
        "rules.a.signal: ",
        "'http.rsp' is no signal of signals.yaml; did you mean http.rps?",
    ),
    (
        "rules: {}\nregression:\n  b:\n   {signal: xyzzy, worse_by: 1, ago: 1d, window: 5m, for: 1m, severity: info}\n",
        4,
        "regression.b.signal: ",
        "'xyzzy' is no signal of signals.yaml",
    ),
    (
        "rules:\n  a:\n    {signal: http.rps, above: 1, for: 1m, severity: info, services: (}\n",
        3,
        "rules.a.services: ",
        "is no regular expression",
    ),
]


@pytest.mark.parametrize(("text", "line", "key", "expected"), MISTAKES)
def test_mistakes_are_named(tmp_path: Path, text: str, line: int, key: str, expected: str) -> None:
    """File, line, key and what was expected."""
    file = tmp_path / "thresholds.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_thresholds(tmp_path, load_definitions(shipped_config()))
    message = str(caught.value)
    assert message.startswith(f"{file}:{line}: {key}")
    assert expected in message
    assert len(message.splitlines()) == 1
