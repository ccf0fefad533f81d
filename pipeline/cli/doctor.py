"""`duri doctor`: is everything there that a worker needs, and if not, what to do next."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import asdict
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.runtime.diagnosis import Verdict, all_good, diagnose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.runtime.diagnosis import Finding

_SIGNS = {
    Verdict.OK: ("✔", "green"),
    Verdict.WARNING: ("!", "yellow"),
    Verdict.FAILED: ("✘", "red"),
    Verdict.SKIPPED: ("-", "dim"),
}


def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    bootstrap: Annotated[str | None, typer.Option(help="host:port of the broker.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Check settings, configuration, broker, topics, permissions and clock; exit status 1 where something is wrong."""
    # The client's own complaints say nothing that the findings do not say better.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    findings = asyncio.run(diagnose(config, {"kafka.bootstrap": bootstrap}))
    if as_json:
        typer.echo(json.dumps({"ok": all_good(findings), "checks": [asdict(one) for one in findings]}, indent=2))
    else:
        Console().print(_table(findings))
    if not all_good(findings):
        raise typer.Exit(1)


def _table(findings: Sequence[Finding]) -> Table:
    table = Table("", "check")
    for name in ("found", "what to do"):
        # A path has no blanks to be broken at, and is to be read to its end.
        table.add_column(name, overflow="fold")
    for finding in findings:
        sign, style = _SIGNS[finding.verdict]
        table.add_row(Text(sign, style=style), finding.check, Text(finding.detail), Text(finding.remedy))
    return table
