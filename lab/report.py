"""What the proofs come to: a table, the figures, and a page of plots."""

from __future__ import annotations

from math import nan
from statistics import median
from typing import TYPE_CHECKING

from rich.table import Table

from lab.back import measured
from lab.faults import FAULTS
from lab.knobs import as_before
from lab.proof import Answer
from lab.scenarios import SCENARIOS, USUAL
from pipeline import quantities as fmt
from pipeline.settings import load_settings
from pipeline.signals.definitions import load_definitions
from pipeline.views.entries import entries
from pipeline.views.plots import require_plots

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from lab.back import Measured
    from lab.proof import Proof
    from pipeline.signals.definitions import Signal

_COLUMNS = 3
_WIDE = 150
_COLUMN_NAMES = ("fault", "first choice", "before / during / after / undone", "what was done", "verdict")
TRUTH: dict[str, str] = {Answer.OWN: "verified", Answer.NOTHING: "no_effect", Answer.HARM: "regressed"}
"""The outcome that is right for an answer to right advice."""


def table(proofs: Sequence[Proof], width: int) -> Table:
    """A row a fault; below one another where the terminal is narrower."""
    signals = _signals()
    if width < _WIDE:
        return entries((_name(one), [line for line in _cells(one, signals) if line]) for one in proofs)
    shown = Table(*_COLUMN_NAMES, box=None, header_style="bold cyan", padding=(0, 2, 1, 0))
    for one in proofs:
        shown.add_row(_name(one), *_cells(one, signals))
    return shown


def _cells(proof: Proof, signals: Mapping[str, Signal]) -> list[str]:
    if proof.skipped is not None:
        return [f"cannot run here: {proof.skipped}"]
    first = f"{proof.finding} {proof.kind}" if proof.finding else "no advice"
    soon = "" if proof.seconds is None else f" after {proof.seconds:.0f} s"
    applied = "by hand" if proof.by_hand else "; ".join(proof.ran)
    return [
        f"{first}, {'right' if proof.right else 'WRONG'}{soon}",
        _figures(proof, signals),
        "\n".join(filter(None, (applied and f"applied: {applied}", proof.refused and f"REFUSED: {proof.refused}"))),
        " ".join(filter(None, (proof.outcome, _undo(proof, signals)))),
    ]


def _signals() -> Mapping[str, Signal]:
    return load_definitions(load_settings().config_dir).signals


def _figures(proof: Proof, signals: Mapping[str, Signal]) -> str:
    """p95 as users saw it; where that did not move, the signal by which the advice is verified, below it."""
    windows = (proof.p95_before, proof.p95_during, proof.p95_after, proof.p95_undone)
    p95 = f"p95 {_in_turn(_ms(each) for each in windows)} ms"
    found = measured(proof, signals)
    if found is None or found.name == "p95":
        return p95
    unit = signals[found.name].unit
    levels = (found.before, found.during, found.after, found.undone)
    return f"{p95}\n{found.name} {_in_turn(fmt.value(each, unit) for each in levels)}"


def _in_turn(figures: Iterable[str]) -> str:
    """Before, during, after and undone; without what a run did not come to."""
    told = list(figures)
    while told and told[-1] == fmt.NOTHING:
        told.pop()
    return " / ".join(told)


def _undo(proof: Proof, signals: Mapping[str, Signal]) -> str:
    """What came of the undo: its verdict where it was advised, else whether the trouble was back; and the knobs."""
    knobs = [] if proof.knobs_differ is None else [as_before(proof.knobs_differ)]
    if proof.undo_outcome is not None:
        return f"({', '.join([f'its undo: {proof.undo_outcome}', *knobs])})"
    if not proof.undo_ran or (found := measured(proof, signals)) is None:
        return ""
    trouble = "trouble again" if found.off(found.undone) else "no trouble"
    return f"({', '.join([f'undone: {trouble}', *knobs])})"


def summary(proofs: Sequence[Proof]) -> str:
    """The figures that are asked of the advisor, a line each."""
    ran = [one for one in proofs if one.skipped is None]
    answered = [one for one in ran if not FAULTS[one.fault].control]
    faults = [one for one in answered if one.answer == Answer.OWN]
    controls = [one for one in ran if FAULTS[one.fault].control]
    judged = [one for one in answered if one.right and (one.ran or one.by_hand)]
    seconds = [one.seconds for one in faults if one.right and one.seconds is not None]
    said = [one for one in controls if one.finding or one.early]
    lines = [
        f"first choice right: {_share(sum(one.right for one in faults), len(faults))}",
        f"in the top three: {_share(sum(one.in_top_3 for one in faults), len(faults))}",
        *_returns(faults),
        f"verdict equals the truth: {_share(sum(one.outcome == TRUTH[one.answer] for one in judged), len(judged))}",
        f"undo advised for what regressed, done, and verified: {_undos(judged)}",
        f"every knob as before the change once its undo was run: {_knobs(judged)}",
        f"controls with advice: {_share(len(said), len(controls))}",
        f"runs with advice in the healthy phase: {_share(sum(one.early > 0 for one in ran), len(ran))}",
        f"healthy phases within the guide's response time: {_share(sum(map(_in_time, ran)), len(ran))}",
        f"first choices open at a time, at most: {max((one.standing for one in faults), default=0)}",
    ]
    if seconds:
        lines.append(f"from onset to right advice: median {median(seconds):.0f} s, longest {max(seconds):.0f} s")
    return "\n".join(lines)


def _returns(faults: Sequence[Proof]) -> list[str]:
    """Of right advice that was applied: whether things are back where they were, and away again once it is undone."""
    signals = _signals()
    mended = [one for one in faults if one.right and (one.ran or one.by_hand)]
    found = [(one, what) for one in mended if (what := measured(one, signals)) is not None]
    own = [what for one, what in found if not one.by_hand]
    by_hand = [what for one, what in found if one.by_hand]
    undone = [what for one, what in found if one.undo_ran and what.off(what.during)]
    return [
        f"p95, or the signal where p95 did not move, back within 20 % by its own commands: {_backs(own)}",
        f"the same, by hand where commands are no remedy: {_backs(by_hand)}",
        f"trouble again once its own undo was run: {_share(sum(one.off(one.undone) for one in undone), len(undone))}",
    ]


def _backs(found: Sequence[Measured]) -> str:
    return _share(sum(one.back for one in found), len(found))


def _undos(judged: Sequence[Proof]) -> str:
    """Of what regressed: whether the undo was advised, and verified once it was done."""
    regressed = [one for one in judged if one.outcome == "regressed"]
    return _share(sum(one.undo_outcome == "verified" for one in regressed), len(regressed))


def _knobs(judged: Sequence[Proof]) -> str:
    """Of undos that were run: whether they have put back every knob."""
    left = [one.knobs_differ for one in judged if one.knobs_differ is not None]
    return _share(sum(not each for each in left), len(left))


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
