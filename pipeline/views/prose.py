"""Sentences for people: broken between words where the terminal ends, one line each where there is no terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TextIO

_DEEPER = 2


def print_prose(text: str, *, err: bool = False) -> None:
    """Print sentences on standard output, or standard error; programs that read them get each line whole."""
    out = sys.stderr if err else sys.stdout
    out.write(f"{fitted(text, out)}\n")
    out.flush()


def fitted(text: str, out: TextIO) -> str:
    """The text as `out` is to get it: wrapped at the terminal's width, unchanged where it is no terminal."""
    return wrapped(text, shutil.get_terminal_size().columns) if out.isatty() else text


def wrapped(text: str, width: int, deeper: int = _DEEPER) -> str:
    """Each line broken between words; what is continued stands so much deeper. Longer words stay in one piece."""
    return "\n".join(_wrapped_line(line, width, deeper) for line in text.splitlines())


def _wrapped_line(line: str, width: int, deeper: int) -> str:
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(
        line.strip(),
        width=width,
        initial_indent=indent,
        subsequent_indent=indent + " " * deeper,
        break_long_words=False,
        break_on_hyphens=False,
    )
