"""Conditions of the catalogue in words: `signals["pg.locks.waiting"] < 3.0` is "pg.locks.waiting is below 3".

What CEL and Python write differently is translated first, so that Python's own parser reads it. A condition beyond
the vocabulary below, as people's own rules may have, is quoted as it stands.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

from pipeline import quantities as fmt
from pipeline.advise.rules.expressions import references

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_STRINGS: Final = re.compile(r"""("[^"]*"|'[^']*')""")
_OPERATORS: Final = ((r"&&", " and "), (r"\|\|", " or "), (r"!(?!=)", " not "))
_CHOICE: Final = re.compile(r"""\s*["']([^"']+)["']\s+in\s+signals\s*\?([^?]*?) :([^?]*)""")
"""One thing where a signal is measured, another where it is not."""
_COMPARED: Final[Mapping[type[ast.cmpop], tuple[str, str]]] = {
    ast.Lt: ("is below {}", "is {} or more"),
    ast.LtE: ("is {} or less", "is above {}"),
    ast.Gt: ("is above {}", "is {} or less"),
    ast.GtE: ("is {} or more", "is below {}"),
    ast.Eq: ("is {}", "is not {}"),
    ast.NotEq: ("is not {}", "is {}"),
}
"""What each comparison says, and what is so where it does not hold."""
_LISTS: Final = {"rising": "rising", "falling": "falling", "signals": "measured"}
_STATES: Final = {
    ("symptom", "slow"): ("requests are slow", "requests are not slow"),
    ("symptom", "failing"): ("requests fail", "requests do not fail"),
    ("symptom", "busier"): ("more requests come than usual", "no more requests come than usual"),
    ("symptom", "quieter"): ("fewer requests come than usual", "no fewer requests come than usual"),
    ("callees", "slow"): ("a service that it calls is slow", "no service that it calls is slow"),
    ("callees", "failing"): ("a service that it calls fails", "no service that it calls fails"),
}
_MAPS: Final = {
    "usual": "what was usual",
    "before": "what it was before the change",
    "expected": "what was expected",
    "peak": "the highest that was seen",
}
_SUBJECTS: Final = {"signals": "{}", "settings": "{}", "before": "{} before the change", "usual": "the usual {}"}
_EXTREMES: Final = {"greatest": "the greater of", "least": "the lesser of"}


def in_words(
    expression: str, units: Mapping[str, str], measured: Collection[str] = (), *, negated: bool = False
) -> str:
    """What is so where the condition holds; `negated`, where it does not.

    `units` by signal and settings gauge; `measured` are the signals that there are, where a condition asks for that.
    """
    try:
        return _said(_parsed(expression, measured), units, negated=negated)
    except (SyntaxError, _UnsaidError):
        return f"`{expression}` {'does not hold' if negated else 'holds'}"


def with_value(expression: str, units: Mapping[str, str], values: Mapping[str, float]) -> str:
    """That the condition holds, and where it asks for one signal the value for which it does."""
    told = in_words(expression, units, values)
    asked = {key for kind, key in references(expression) if kind == "signals" and key in values}
    if len(asked) != 1:
        return told
    (signal,) = asked
    return f"{told}, at {fmt.value(values[signal], units.get(signal, ''))}"


class _UnsaidError(Exception):
    """There are no words for it."""


def _parsed(expression: str, measured: Collection[str]) -> ast.expr:
    choice = _CHOICE.fullmatch(" ".join(expression.split()))
    if choice:
        expression = choice[2] if choice[1] in measured else choice[3]
    parts = _STRINGS.split(" ".join(expression.split()))
    for place in range(0, len(parts), 2):  # strings stand between
        for written, python in _OPERATORS:
            parts[place] = re.sub(written, python, parts[place])
    return ast.parse("".join(parts).strip(), mode="eval").body


def _said(node: ast.expr, units: Mapping[str, str], *, negated: bool) -> str:
    match node:
        case ast.BoolOp():
            together = isinstance(node.op, ast.And) is not negated
            return (" and " if together else " or ").join(_said(each, units, negated=negated) for each in node.values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _said(operand, units, negated=not negated)
        case ast.Attribute(value=ast.Name(id=kind), attr=name) if (kind, name) in _STATES:
            return _STATES[kind, name][negated]
        case ast.Compare(left=ast.Constant(value=str(signal)), ops=[ast.In()], comparators=[ast.Name(id=kind)]):
            if kind in _LISTS:
                return f"{signal} is {'not ' if negated else ''}{_LISTS[kind]}"
        case ast.Compare(left=left, ops=[operator], comparators=[right]) if type(operator) in _COMPARED:
            about, subject = _subject(left)
            return f"{subject} {_COMPARED[type(operator)][negated].format(_quantity(right, about, units))}"
    raise _UnsaidError


def _subject(node: ast.expr) -> tuple[str, str]:
    """The signal or settings gauge that is compared: its name, and what of it."""
    match node:
        case ast.Subscript(value=ast.Name(id=kind), slice=ast.Constant(value=str(name))) if kind in _SUBJECTS:
            return name, _SUBJECTS[kind].format(name)
    raise _UnsaidError


def _quantity(node: ast.expr, about: str, units: Mapping[str, str]) -> str:
    """What it is compared with, in the unit of what is compared."""
    match node:
        case ast.Constant(value=float(number)):
            return fmt.value(number, units.get(about, ""))
        case ast.Subscript(value=ast.Name(id=kind), slice=ast.Constant(value=str(name))):
            return _value_of(kind, name, about)
        case (
            ast.BinOp(left=ast.Constant(value=float(factor)), op=ast.Mult(), right=other)
            | ast.BinOp(left=other, op=ast.Mult(), right=ast.Constant(value=float(factor)))
        ):
            times = f"{factor:g} times" if factor >= 1.0 else f"{fmt.percent(factor)} of"
            return f"{times} {_quantity(other, about, units)}"
        case ast.BinOp(left=other, op=(ast.Add() | ast.Sub()) as sign, right=ast.Constant(value=float(number))):
            more = "plus" if isinstance(sign, ast.Add) else "less"
            return f"{_quantity(other, about, units)} {more} {_difference(number, units.get(about, ''))}"
        case ast.Call(func=ast.Attribute(value=ast.Name(id="math"), attr=name), args=[one, other]):
            if name in _EXTREMES:
                return f"{_EXTREMES[name]} {_quantity(one, about, units)} and {_quantity(other, about, units)}"
    raise _UnsaidError


def _value_of(kind: str, name: str, about: str) -> str:
    if kind in ("signals", "settings"):
        return name
    if kind not in _MAPS:
        raise _UnsaidError
    return _MAPS[kind] if name == about else f"{_MAPS[kind]} of {name}"


def _difference(number: float, unit: str) -> str:
    """A ratio's difference is told in points: 1 % more of 20 % would be 20.2 %."""
    return fmt.count(number * 100.0, "percentage point") if unit == "1" else fmt.value(number, unit)
