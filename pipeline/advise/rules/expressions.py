"""Conditions and formulas of the catalogue: CEL (cel.dev), compiled once, evaluated over one service's facts.

Missing data is an error in CEL (`signals["pg.locks.waiting"]` where nobody measures it), and errors behave as the
language defines: `error || true` is true, `error && false` is false. What remains an error is "not known" here: a
condition that does not hold, a look-alike that is not seen, a formula without a result.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, Protocol

from cel import Context
from cel import compile as compile_cel
from cel.stdlib import STDLIB_FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = float | str | bool

_FUNCTIONS: Final = ("math.abs", "math.ceil", "math.floor", "math.greatest", "math.least", "math.round")
_TEXT: Final = r"""(?:"([^"]+)"|'([^']+)')"""
_REFERENCE: Final = re.compile(rf"\b([a-z_]+)\s*\[\s*{_TEXT}\s*\]|{_TEXT}\s+in\s+([a-z_]+)\b")
_SYMPTOMS: Final = {
    "symptom.slow": ("http.latency.p95",),
    "symptom.failing": ("http.error_ratio",),
    "symptom.busier": ("http.rps",),
}
_NOT_KNOWN: Final = (KeyError, TypeError, ValueError, RuntimeError, ArithmeticError, IndexError)


class Program(Protocol):
    """A compiled expression."""

    def execute(self, context: Any) -> Any:
        """Give the result, or raise one of Python's own errors."""
        ...


def compile_expression(text: str) -> Program:
    """Compiled form. Raises ValueError with one line that says where the expression breaks."""
    try:
        program: Program = compile_cel(text)
    except ValueError as error:
        detail = next((line for line in str(error).splitlines() if "<input>" in line), str(error))
        raise ValueError(f"not a CEL expression: {detail.partition('<input>:')[2] or detail}") from error
    return program


def references(text: str) -> set[tuple[str, str]]:
    """What an expression asks for, as (map, key): `signals["http.rps"]` is ("signals", "http.rps")."""
    return {(match[1] or match[6], match[2] or match[3] or match[4] or match[5]) for match in _REFERENCE.finditer(text)}


def spoken_of(text: str) -> set[str]:
    """Signals and settings that an expression speaks of, those behind `symptom` included."""
    named = {key for _, key in references(text)}
    return named.union(*(signals for word, signals in _SYMPTOMS.items() if word in text))


class Evaluator:
    """Evaluates compiled expressions over the facts that were loaded last. Not thread-safe: one a stage."""

    def __init__(self) -> None:
        self._context = Context()
        for name in _FUNCTIONS:
            self._context.add_function(name, STDLIB_FUNCTIONS[name])

    def load(self, variables: Mapping[str, Any]) -> None:
        """Set the variables; those of an earlier load that are not named stay."""
        for name, value in variables.items():
            self._context.add_variable(name, value)

    def strictly(self, program: Program) -> Any:
        """Result as CEL gives it. Raises what the library raises: for checking a catalogue."""
        return program.execute(self._context)

    def value(self, program: Program) -> Value | None:
        """Result; None where it is not known or no finite number."""
        try:
            result = program.execute(self._context)
        except _NOT_KNOWN:
            return None
        if isinstance(result, bool | str):
            return result
        if isinstance(result, int | float) and math.isfinite(result):
            return float(result)
        return None

    def holds(self, program: Program) -> bool:
        """Whether the condition is known to hold."""
        return self.value(program) is True
