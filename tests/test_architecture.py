from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_dependencies_point_one_way(tmp_path):
    """import-linter keeps every contract of pyproject.toml."""
    command = [Path(sys.executable).with_name("lint-imports"), "--cache-dir", tmp_path]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[result.stdout.find("Contracts") :] + result.stderr


def test_layers_are_exhaustive():
    """A new module must be given its place: no layers contract of a whole package leaves any out."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {contract["containers"][0]: contract for contract in contracts if contract["type"] == "layers"}
    assert all(layers[package]["exhaustive"] for package in ("pipeline", "models"))
