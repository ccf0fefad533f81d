"""Write measured figures into docs/benchmarks.md, so that all of them can be replaced in one go.

python -m benchmarks.document --nab DIR --cloud DIR [--speed] [--million FILE]

A section lies between the lines `<!-- begin NAME -->` and `<!-- end NAME -->`; what stands around them is left alone.
This runs the three commands of `duri bench` and puts what they print into their sections; `--speed` measures speed,
memory and start-up too (minutes), `--million` takes the JSON line that `make bench-million` printed.
`python -m benchmarks.detectors --write` writes the comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def machine() -> str:
    """Date, processor, cores and Python, without the machine's name."""
    model = re.search(r"model name\s*:\s*(.+)", _read(Path("/proc/cpuinfo")))
    processor = " ".join(model[1].split()) if model else platform.machine()
    date = datetime.now(UTC).date().isoformat()
    return f"{date}, {os.cpu_count()} cores of {processor}, Python {platform.python_version()}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are figures."""
    lines = [list(head), ["---", *["---:"] * (len(head) - 1)], *[list(row) for row in rows]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def replace_section(name: str, text: str, page: Path = PAGE) -> None:
    """Put text into a section of the page.

    Raises ValueError where the page has no such section.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page}: no section from {begin} to {end}")
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")


def command(*words: str) -> str:
    """What a command of `duri` prints, as a block of text with the command above it."""
    run = [sys.executable, "-m", "pipeline", *words]
    said = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    shown = " ".join("DIR" if os.sep in word else word for word in words)
    lines = "\n".join(line.rstrip() for line in said.splitlines())
    return f"`duri {shown}`, {machine()}\n\n```text\n{lines}\n```"


def json_line(module: str) -> dict[str, Any]:
    """What a benchmark prints."""
    run = [sys.executable, "-m", module]
    said = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    figures: dict[str, Any] = json.loads(said.splitlines()[-1])
    return figures


def figures_section(figures: dict[str, Any]) -> str:
    """A benchmark's figures as a table."""
    plain = {name: value for name, value in figures.items() if name not in {"benchmark", "machine"}}
    rows: list[list[str]] = []
    for name, value in plain.items():
        parts = {f": {part}": one for part, one in value.items()} if isinstance(value, dict) else {"": value}
        rows += [[name.replace("_", " ") + part, _figure(one)] for part, one in parts.items()]
    return f"{markdown_table(['what', 'figure'], rows)}\n\n{machine()}"


def _figure(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nab", type=Path, required=True)
    parser.add_argument("--cloud", type=Path, required=True)
    parser.add_argument("--speed", action="store_true", help="measure speed, memory and start-up")
    parser.add_argument("--million", type=Path, help="file with the JSON line of make bench-million")
    parser.add_argument("--left-out", type=Path, help="file with the JSON line of benchmarks.left_out")
    args = parser.parse_args()
    replace_section("nab", command("bench", "nab", "--data", str(args.nab)))
    replace_section("events", command("bench", "events", "--data", str(args.cloud)))
    replace_section("synthetic", command("bench", "synthetic"))
    if args.speed:
        replace_section("speed", figures_section(json_line("benchmarks.bench_learners")))
    for name, file in (("million", args.million), ("left_out", args.left_out)):
        if file:
            line = file.read_text(encoding="utf-8").splitlines()[-1]
            replace_section(name, figures_section(json.loads(line)))


if __name__ == "__main__":
    main()
