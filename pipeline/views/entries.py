"""A list that can be read on any terminal: a name, and beside it lines that fold where they are long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def entries(found: Iterable[tuple[str, Sequence[str | Text]]]) -> Table:
    """Each name with its lines; empty ones are left out. What is text is printed as it is: `[…]` is no style."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, said in found:
        lines = [line if isinstance(line, Text) else Text(line) for line in said]
        table.add_row(name, Group(*(line for line in lines if line.plain)))
        table.add_row()
    return table
