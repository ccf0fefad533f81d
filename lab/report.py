"""What the proofs come to: a table, the figures, and a page of plots."""

from __future__ import annotations

from math import nan
from statistics import median
from typing import TYPE_CHECKING

from rich.table import Table

from lab.faults import FAULTS
from lab.prove import Answer
from lab.scenarios import SCENARIOS, USUAL
from pipeline.views.plots import require_plots

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lab.prove import Proof

_BACK = 1.2
_COLUMNS = 3
TRUTH: dict[str, str] = {Answer.OWN: "verified", Answer.NOTHING: "no_effect", Answer.HARM: "regressed"}
"""The outcome that is right for an answer to right advice."""


def table(proofs: Sequence[Proof]) -> Table:
    """A row a fault."""
    shown = Table("fault", "first choice", "right", "after s", "p95 ms before/during/after", "applied", "outcome")
    for one in proofs:
        if one.skipped is not None:
            shown.add_row(one.fault, f"cannot run here: {one.skipped}", "", "", "", "", "")
            continue
        p95 = " / ".join(_ms(each) for each in (one.p95_before, one.p95_during, one.p95_after))
        applied = "by hand" if one.by_hand else "; ".join(one.ran)
        seconds = "" if one.seconds is None else f"{one.seconds:.0f}"
        first = f"{one.finding} {one.kind}" if one.finding else "none"
        shown.add_row(_name(one), first, "yes" if one.right else "no", seconds, p95, applied, one.outcome or "")
    return shown


def summary(proofs: Sequence[Proof]) -> str:
    """The figures that are asked of the advisor, a line each."""
    ran = [one for one in proofs if one.skipped is None]
    answered = [one for one in ran if not FAULTS[one.fault].control]
    faults = [one for one in answered if one.answer == Answer.OWN]
    controls = [one for one in ran if FAULTS[one.fault].control]
    judged = [one for one in answered if one.right and one.outcome is not None]
    seconds = [one.seconds for one in faults if one.right and one.seconds is not None]
    said = [one for one in controls if one.finding or one.early]
    lines = [
        f"first choice right: {_share(sum(one.right for one in faults), len(faults))}",
        f"in the top three: {_share(sum(one.in_top_3 for one in faults), len(faults))}",
        f"p95 back within 20 % once the right advice was applied: {_share(*_helped(faults))}",
        f"verdict equals the truth: {_share(sum(one.outcome == TRUTH[one.answer] for one in judged), len(judged))}",
        f"controls with advice: {_share(len(said), len(controls))}",
        f"runs with advice in the healthy phase: {_share(sum(one.early > 0 for one in ran), len(ran))}",
        f"healthy phases within the guide's response time: {_share(sum(map(_in_time, ran)), len(ran))}",
        f"first choices open at a time, at most: {max((one.standing for one in faults), default=0)}",
    ]
    if seconds:
        lines.append(f"from onset to right advice: median {median(seconds):.0f} s, longest {max(seconds):.0f} s")
    return "\n".join(lines)


def _helped(faults: Sequence[Proof]) -> tuple[int, int]:
    mended = [one for one in faults if one.right and (one.ran or one.by_hand)]
    back = [one for one in mended if one.p95_before and one.p95_after and one.p95_after <= _BACK * one.p95_before]
    return len(back), len(mended)


def _in_time(proof: Proof) -> bool:
    return proof.p95_before is not None and proof.p95_before < SCENARIOS[proof.scenario].expected_s


def plot(path: Path, proofs: Sequence[Proof]) -> None:
    """A page: p95 that users saw each second, one plot a fault. Raises MissingExtraError without matplotlib."""
    require_plots()
    from matplotlib.figure import Figure  # noqa: PLC0415  an extra

    shown = [one for one in proofs if one.skipped is None]
    rows = max(1, -(-len(shown) // _COLUMNS))
    figure = Figure(figsize=(5.2 * _COLUMNS, 2.6 * rows), layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for one, axis in zip(shown, axes, strict=False):
        times = [at for at, _ in one.trace]
        axis.plot(
            times, [nan if value is None else 1000 * value for _, value in one.trace], color="#34495e", linewidth=1
        )
        axis.axvline(0, color="#cf3f4f", linewidth=1)
        if one.applied_at is not None:
            axis.axvline(one.applied_at, color="#1b8a6b", linewidth=1)
        right = "right" if one.right else "wrong"
        axis.set_title(f"{_name(one)}: {one.finding or 'no advice'} ({right})", fontsize=9)
        axis.set_ylabel("p95, ms", fontsize=8)
        outcome = one.outcome or "no outcome"
        axis.set_xlabel(f"{outcome} · s since the injection (red); green: applied", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.set_ylim(bottom=0)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    figure.savefig(path, dpi=100)


def _name(proof: Proof) -> str:
    name = proof.fault if proof.answer == Answer.OWN else f"{proof.fault}, {proof.answer} applied"
    name = name if proof.scenario == USUAL.name else f"{name}, {proof.scenario} load"
    return f"{name}, by Kafka" if proof.kafka else name


def _share(part: int, of: int) -> str:
    return f"{part} of {of}" if of else "nothing to tell"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.0f}"
