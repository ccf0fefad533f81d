"""`duri lab prove` keeps what it has, whatever comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

import lab.cli
from lab.backends import LabError
from lab.proof import Proof
from pipeline.errors import SettingsError
from tests.installation import duri

if TYPE_CHECKING:
    from pathlib import Path


def test_a_lab_that_breaks_takes_nothing_from_the_faults_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The table and the results have the first of two faults, and the error is not hidden."""

    async def breaks_at_the_second(fault: Any, *_: object) -> Proof:
        if fault.name != "pool-too-small":
            raise LabError("no PostgreSQL")
        return Proof(fault.name, finding="APP_POOL_EXHAUSTED", right=True, in_top_3=True)

    monkeypatch.setattr(lab.cli, "prove", breaks_at_the_second)
    results = tmp_path / "results.jsonl"
    done = CliRunner().invoke(lab.cli.lab, ["prove", "pool-too-small", "healthy", "--results", str(results)])
    assert isinstance(done.exception, LabError)
    assert "first choice right: 1 of 1" in done.output
    assert len(results.read_text().splitlines()) == 1


@pytest.fixture
def _nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault that is run fails the test."""

    async def runs(*_: object) -> Proof:
        pytest.fail("a fault was run")

    monkeypatch.setattr(lab.cli, "prove", runs)


@pytest.mark.usefixtures("_nothing_runs")
def test_wrong_settings_are_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when the first fault has been running for a minute."""
    monkeypatch.setenv("DURI_DETECT__FRAMES_S", "10")
    done = CliRunner().invoke(lab.cli.lab, ["prove", "healthy"])
    assert isinstance(done.exception, SettingsError)


@pytest.mark.usefixtures("_nothing_runs")
@pytest.mark.parametrize("command", [["up"], ["prove", "healthy"]])
def test_a_load_that_does_not_exist_is_refused_with_those_that_do(command: list[str]) -> None:
    done = CliRunner().invoke(lab.cli.lab, [*command, "--scenario", "storm"])
    assert isinstance(done.exception, LabError)
    assert "storm; there are: usual, normal, peak, stress" in str(done.exception)


@pytest.mark.usefixtures("_nothing_runs")
def test_plots_that_cannot_be_drawn_are_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after the half hour that the faults take."""

    def missing() -> None:
        raise LabError("no matplotlib")

    monkeypatch.setattr(lab.cli, "require_plots", missing)
    done = CliRunner().invoke(lab.cli.lab, ["prove", "healthy", "--plots", "page.png"])
    assert isinstance(done.exception, LabError)


def test_the_command_line_says_what_the_lab_is() -> None:
    """`duri --help` says what `duri lab` does, without importing what only the lab needs."""
    shown = " ".join(duri("--help").stdout.replace("│", " ").split())
    assert "lab List the faults, run the system, prove that the advice for each fault is right." in shown
