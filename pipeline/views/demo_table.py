"""The demo's summary as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from pipeline import quantities as fmt

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.views.demo_summary import Advice, DemoSummary, FaultOutcome, Flag

_WIDE = 110


def print_summary(console: Console, summary: DemoSummary) -> None:
    """Print what came of each fault, and the totals."""
    console.print()
    console.print(_faults(summary.faults) if console.width >= _WIDE else _list(summary.faults))
    console.print()
    for line in _totals(summary):
        console.print(line)


def _faults(faults: list[FaultOutcome]) -> Table:
    table = Table(box=None, padding=(0, 2, 1, 0), header_style="bold cyan", expand=True)
    for name in ("what went wrong", "first flagged", "static rule", "ahead", "first recommendation"):
        table.add_column(name, justify="right" if name == "ahead" else "left")
    for fault in faults:
        table.add_row(_what(fault), _flag(fault.first_flag), _when(fault.static_rule), _ahead(fault), _advised(fault))
    return table


def _list(faults: list[FaultOutcome]) -> Table:
    """The same below one another, for narrow terminals."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for fault in faults:
        table.add_row("what", _what(fault, " "))
        table.add_row("flagged", _flag(fault.first_flag, " "))
        table.add_row("static", _when(fault.static_rule).append("  ahead: ").append(_ahead(fault)))
        table.add_row("advice", _advised(fault, " "))
        table.add_row()
    return table


def _what(fault: FaultOutcome, newline: str = "\n") -> Text:
    text = Text(fault.title, "bold").append(f"{newline}{fault.service}", "")
    return text.append(f"{newline}{fmt.clock(fault.start)} to {fault.end:%H:%M}", "dim")


def _flag(flag: Flag | None, newline: str = "\n") -> Text:
    if flag is None:
        return Text("not flagged", "bold red")
    text = Text(f"after {fmt.duration(flag.after_s)}").append(f"{newline}by {flag.detector}", "bold")
    return text.append(f"{newline}{flag.signal}", "dim")


def _when(flag: Flag | None) -> Text:
    return Text("never fired", "dim") if flag is None else Text(f"after {fmt.duration(flag.after_s)}")


def _ahead(fault: FaultOutcome) -> Text:
    if fault.lead_s is None:
        only = fault.first_flag is not None and fault.static_rule is None
        return Text("only we saw it" if only else fmt.NOTHING, "green" if only else "dim")
    return Text(fmt.duration(fault.lead_s), "bold green" if fault.lead_s > 0 else "red")


def _advised(fault: FaultOutcome, newline: str = "\n") -> Text:
    first, right = fault.first_advice, fault.right_advice
    if first is None:
        return Text("none", "bold red")
    text = _one_advice(first, newline)
    if not first.right and right is not None:
        text.append(newline).append(_one_advice(right, newline))
    return text


def _one_advice(advice: Advice, newline: str) -> Text:
    mark, style = ("right", "bold green") if advice.right else ("not the one", "yellow")
    text = Text(advice.change, "bold").append(f"{newline}after {fmt.duration(advice.after_s)}, ")
    return text.append(mark, style).append(f", {fmt.percent(advice.confidence)} sure", "dim")


def _totals(summary: DemoSummary) -> list[Text]:
    totals = summary.totals
    beside = totals.recommendations - totals.right_recommendations - totals.false_recommendations
    by_detector = ", ".join(f"{name} {number}" for name, number in totals.anomalies_by_detector.items()) or "none"
    return [
        Text(f"{fmt.compact(totals.samples)} samples in {fmt.seconds(totals.seconds)}", "bold").append(
            f" ({fmt.scaled(totals.samples_per_s)}/s, broker start included)", "dim"
        ),
        Text(f"{fmt.count(totals.anomalies, 'anomaly')}: {by_detector}").append(
            f"; {totals.anomalies_outside_faults} outside the faults", "dim"
        ),
        Text(f"{fmt.count(totals.recommendations, 'recommendation')}: {totals.right_recommendations} right, ")
        .append(f"{beside} for a fault but not its remedy, ")
        .append(f"{totals.false_recommendations} false", "red" if totals.false_recommendations else ""),
        Text(summary.data, "dim"),
    ]
