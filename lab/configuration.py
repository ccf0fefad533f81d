"""The shipped configuration with the guide's request rates scaled to the lab's users."""

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

_SHARE = 0.05
"""The guide asks 100 requests/s of a service; the lab sends the least of its four some five to ten."""


@contextmanager
def scaled_config() -> Iterator[Path]:
    """A folder with it, for as long as it is loaded. Only thresholds of `http.rps` differ from the shipped ones."""
    with TemporaryDirectory(prefix="duri-lab-config-") as name:
        folder = Path(name) / "config"
        shutil.copytree(load_settings().config_dir, folder)
        path = folder / "thresholds.yaml"
        thresholds = yaml.safe_load(path.read_text(encoding="utf-8"))
        for rule in thresholds["rules"].values():
            if rule["signal"] == "http.rps" and "below" in rule:
                rule["below"] *= _SHARE
        path.write_text(yaml.safe_dump(thresholds, sort_keys=False), encoding="utf-8")
        yield folder
