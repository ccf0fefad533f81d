"""Every command's help reads well at 80 columns."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from pipeline.cli import command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click import Command

WIDTH = 80
APP = command_line()


def commands(command: object, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of each command and group of commands."""
    yield words
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))


@pytest.mark.parametrize("words", list(commands(get_command(APP))), ids=" ".join)
def test_help_fits_and_flows(words: tuple[str, ...]) -> None:
    """No line is too long, and none ends before the next word would have fitted."""
    shown = CliRunner().invoke(APP, [*words, "--help"], env={"COLUMNS": str(WIDTH)}, prog_name="duri")
    assert shown.exit_code == 0
    assert max(map(len, shown.output.splitlines())) <= WIDTH
    for paragraph in re.split(r"\n\s*\n", shown.output.split("╭")[0]):
        lines = [line.rstrip() for line in paragraph.splitlines() if line.strip()]
        short = [line for line, after in pairwise(lines) if len(f"{line} {after.split()[0]}") < WIDTH - 1]
        assert short == []


def test_every_option_says_what_it_is_for() -> None:
    """Arguments too: a name alone leaves the newcomer guessing."""
    silent = [
        f"duri {' '.join(words)}: {parameter.name}"
        for words in commands(get_command(APP))
        for parameter in found(words).params
        if not getattr(parameter, "help", None)
    ]
    assert silent == []


def found(words: tuple[str, ...]) -> Command:
    """The command that these words lead to."""
    command = get_command(APP)
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]  # of groups
    return command
