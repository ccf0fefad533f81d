"""The shipped configuration with the guide's request rates scaled to a scenario's users."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import yaml

from pipeline.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.scenarios import Scenario

_ASKED_RPS = 100.0
"""The guide's objective for a service."""
_PART = 0.25
"""The objective becomes this part of what the services get that are asked least."""


@contextmanager
def scaled_config(scenario: Scenario) -> Iterator[Path]:
    """A folder with it, for as long as it is loaded. Only thresholds of `http.rps` differ from the shipped ones."""
    scale = _PART * scenario.least_rps / _ASKED_RPS
    with TemporaryDirectory(prefix="duri-lab-config-") as name:
        folder = Path(name) / "config"
        shutil.copytree(load_settings().config_dir, folder)
        path = folder / "thresholds.yaml"
        thresholds = yaml.safe_load(path.read_text(encoding="utf-8"))
        for rule in thresholds["rules"].values():
            if rule["signal"] == "http.rps" and "below" in rule:
                rule["below"] *= scale
        path.write_text(yaml.safe_dump(thresholds, sort_keys=False), encoding="utf-8")
        yield folder
