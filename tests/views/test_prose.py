from __future__ import annotations

import sys
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.views.prose import print_prose, wrapped


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


WORDS = st.lists(st.text("abc-/.`", min_size=1, max_size=12), min_size=1, max_size=40)


@given(WORDS, st.integers(20, 120), st.integers(0, 4))
def test_wrapping_keeps_the_words_and_the_width(words: list[str], width: int, indent: int) -> None:
    """Nothing is lost, cut or moved, and no line is wider than the terminal."""
    lines = wrapped(" " * indent + " ".join(words), width).splitlines()
    assert " ".join(lines).split() == words
    assert max(map(len, lines)) <= width


def test_a_word_longer_than_the_terminal_stays_whole() -> None:
    """A path that is broken cannot be copied."""
    path = "/data/" + "x" * 100
    assert path in wrapped(f"see {path} for it", 40).splitlines()[1]


@pytest.mark.parametrize(("out", "lines"), [(Terminal, 3), (StringIO, 1)])
def test_only_terminals_get_broken_lines(out: type[StringIO], lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that reads the output gets each sentence whole."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "stderr", out())
    print_prose("word " * 20, err=True)
    assert len(sys.stderr.getvalue().splitlines()) == lines
