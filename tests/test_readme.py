"""What the README tells people to type."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

import pipeline.cli
from pipeline.ingest.stage import IngestStage
from pipeline.settings import load_settings
from pipeline.stage import Topic
from tests.builders import message
from tests.installation import Installation

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
PROSE = re.sub(r"^```.*?^```$", "", README, flags=re.DOTALL | re.MULTILINE)
INLINE = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", PROSE)]


def typed(program: str) -> list[list[str]]:
    """Arguments of every call of this program, in code blocks and in the text."""
    lines = [line for block in BLOCKS for line in block.splitlines()] + INLINE
    calls = [shlex.split(line, comments=True) for line in lines if re.match(rf"{program}( |$)", line)]
    assert calls, f"the README no longer tells anybody to type {program}: has its form changed?"
    return [call[1:] for call in calls]


def with_own_kafka() -> list[list[str]]:
    """The commands under that heading, in their order."""
    [block] = re.findall(r"^## With your own Kafka\n+```\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in block.splitlines() if line.startswith("duri ")]


@cache
def duri() -> Any:
    """The tree of commands."""
    return typer.main.get_command(pipeline.cli.command_line())


def parse(arguments: list[str]) -> None:
    """Read a command line as `duri` would, without doing it. Raises what a person would be told."""
    command, name = duri(), "duri"
    while hasattr(command, "commands"):
        name, *arguments = arguments
        assert name in command.commands, f"there is no {name}"
        command = command.commands[name]
    # This reads options and arguments, their types and bounds; only `invoke` would run the command.
    command.make_context(name, list(arguments))


@pytest.mark.parametrize("arguments", typed("duri"), ids=" ".join)
def test_commands_exist_as_they_are_written(arguments: list[str]) -> None:
    """Every `duri …` in the README is a command line that `duri` accepts."""
    parse(arguments)


def test_a_wrong_option_would_be_noticed() -> None:
    """The check above refuses what `duri` refuses."""
    with pytest.raises(Exception, match="--backwards"):
        parse(["replay", "FILES…", "--backwards"])


@pytest.mark.parametrize("arguments", typed("make"), ids=" ".join)
def test_make_targets_exist(arguments: list[str]) -> None:
    """Every `make …` in the README names a target, and files that are there."""
    target, *variables = arguments or ["help"]
    assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for variable in variables:
        name, _, value = variable.partition("=")
        assert name == "PYTEST"
        assert (ROOT / value).is_file()


def test_linked_and_named_files_exist() -> None:
    """What the README links to, its configuration table and its compose file are in the checkout."""
    linked = [ROOT / link for link in re.findall(r"\]\((?!https?:)([^)#]+)", PROSE)]
    configuration = [
        ROOT / "config" / name for name in re.findall(r"^\| `([\w./*]+)` \|", PROSE, re.MULTILINE) if ".yaml" in name
    ]
    composed = [ROOT / call[call.index("-f") + 1] for call in typed("docker")]
    assert linked
    assert configuration
    named = linked + configuration + composed
    assert [path for path in named if not list(path.parent.glob(path.name))] == []


def test_the_sample_is_accepted_by_ingest() -> None:
    """The message that the README shows becomes a sample, not a dead letter."""
    [shown] = [code for code in INLINE if code.startswith("{")]
    sample = json.loads(shown)
    stage = IngestStage(load_settings().ingest, source="duri.metrics/0", samples_partitions=1)
    outputs = stage.step([message(0, shown.encode(), timestamp=sample["ts"])])
    assert [output.topic for output in outputs] == [Topic.SAMPLES]


def test_the_commands_for_an_own_kafka_work(kafka: str, topic_prefix: str) -> None:
    """The block under "With your own Kafka", typed as it is against a real broker: each command ends with 0."""
    create, doctor, run, watch = with_own_kafka()
    assert (create, doctor, run[0], watch[0]) == (["topics", "create"], ["doctor"], "run", "watch")
    installation = Installation(kafka, topic_prefix)
    for arguments in (create, doctor):
        done = installation.command(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    with installation.running(*run[1:]):
        watched = installation.command(*watch, "--for", "2")
        assert watched.returncode == 0, watched.stderr


@pytest.mark.slow
def test_the_demo_brings_its_own_kafka() -> None:
    """`duri demo` with nothing at hand starts a broker itself and has the right advice for each of the four faults."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "demo", "--json"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    took = f"took {summary['totals']['seconds']:.0f} s; 60 s are asked for, on a machine with nothing else to do"
    right = [fault["kind"] for fault in summary["faults"] if fault["right_advice"]]
    assert sorted(right) == ["bad_deploy", "cache_evicting", "memory_leak", "pool_exhausted"], took
