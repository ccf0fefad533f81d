"""The tutorials: the notebook, and `make tutorial`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_notebook_runs() -> None:
    """Every cell, from the checkout's folder; and it is kept with what its cells say."""
    notebook = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    assert all(cell.execution_count for cell in cells)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(ROOT)}}).execute()


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_path_runs(tmp_path: Path) -> None:
    """`make tutorial` on a broker of its own: trained, evaluated on what came since, shadowed, live with the gate's
    leave, and reverted.
    """
    command = [sys.executable, "-m", "benchmarks.tutorial"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "is live, move 2" in done.stdout
    assert "against the gate" not in done.stdout
    assert "no model is live again, move 3" in done.stdout
    [card] = (tmp_path / "build/tutorial").glob("models/models/services-forest/*/card.md")
    assert "| evaluate |" in card.read_text()
    assert "| evaluate |" in (tmp_path / "build/tutorial/evaluation/card.md").read_text()
