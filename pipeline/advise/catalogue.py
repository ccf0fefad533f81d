"""The catalogue of tuning rules, read and checked once at the start.

Errors name file and line. Checked are the shape of every rule, that each expression compiles and runs over sample
facts, that every signal and setting it names is known, and that every {placeholder} has a value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.advise.expressions import Evaluator, Program, compile_expression, references
from pipeline.advise.facts import PLACEHOLDERS, sample_variables
from pipeline.advise.rules import CatalogueFile, Rule, SettingEntry, placeholders
from pipeline.advise.topology import Topology, load_topology
from pipeline.configfile import line_of, load_model, read_yaml
from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HARM_SIGNALS: Final = (
    "http.latency.p50",
    "http.latency.p95",
    "http.latency.p99",
    "http.rps",
    "http.availability",
    "http.error_ratio",
)
"""Signals that tell how much a service suffers; their history is always kept."""
_SIGNAL_MAPS: Final = ("signals", "usual", "expected", "slope", "steadiness", "peak", "before", "rising", "falling")
_HISTORY_MAPS: Final = ("usual", "slope", "steadiness", "peak")


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule and its compiled expressions."""

    rule: Rule
    when: tuple[Program, ...]
    unless: tuple[Program, ...]
    supports: tuple[tuple[Program, float], ...]
    change: Mapping[str, Program]
    values: Mapping[str, Program]
    condition: Program
    abort_if: Program | None
    when_signals: frozenset[str]
    """Signals that the required conditions speak of."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All rules in the order of their ids, and the vocabulary they are written in."""

    rules: tuple[CompiledRule, ...]
    signals: Mapping[str, str]
    """Unit by signal."""
    settings: Mapping[str, SettingEntry]
    baseline: Mapping[str, float]
    by_id: Mapping[str, CompiledRule] = field(default_factory=dict)

    def history_signals(self) -> tuple[str, ...]:
        """Signals whose recent past some rule, or the search for the cause, looks at; sorted."""
        asked = {key for entry in self.rules for name in _HISTORY_MAPS for key in entry.rule.asks_for(name)}
        return tuple(sorted(asked.union(HARM_SIGNALS)))


def build_catalogue(files: Iterable[CatalogueFile]) -> Catalogue:
    """One catalogue of several files' contents, unchecked."""
    signals: dict[str, str] = {}
    settings: dict[str, SettingEntry] = {}
    baseline: dict[str, float] = {}
    rules: list[Rule] = []
    for content in files:
        signals.update(content.signals)
        settings.update(content.settings)
        baseline.update(content.baseline)
        rules.extend(content.rules)
    compiled = tuple(_compile(rule) for rule in sorted(rules, key=lambda rule: rule.id))
    return Catalogue(compiled, signals, settings, baseline, {entry.rule.id: entry for entry in compiled})


def load_catalogue(directory: Path) -> Catalogue:
    """Catalogue of all `*.yaml` of a folder. Raises SettingsError with one line a mistake."""
    paths = sorted(directory.glob("*.yaml"))
    if not paths:
        raise SettingsError(f"{directory}: holds no *.yaml file with tuning rules")
    contents = {path: load_model(path, CatalogueFile) for path in paths}
    catalogue = build_catalogue(contents.values())
    mistakes = [mistake for path, content in contents.items() for mistake in _mistakes(path, content, catalogue)]
    mistakes += _repeated(contents)
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    return catalogue


def load_advice(config_dir: Path) -> tuple[Catalogue, Topology]:
    """The catalogue and the service graph of a configuration folder. Raises SettingsError."""
    return load_catalogue(config_dir / "catalogue"), load_topology(config_dir / "topology.yaml")


def _compile(rule: Rule) -> CompiledRule:
    formulas = ("current", "recommended", "lower", "upper", "observed_peak")
    return CompiledRule(
        rule=rule,
        when=tuple(map(compile_expression, rule.when)),
        unless=tuple(compile_expression(other.condition) for other in rule.unless),
        supports=tuple((compile_expression(support.condition), support.weight) for support in rule.supports),
        change={
            name: compile_expression(text) for name in formulas if (text := getattr(rule.change, name)) is not None
        },
        values={name: compile_expression(text) for name, text in rule.values.items()},
        condition=compile_expression(rule.verification.condition),
        abort_if=compile_expression(rule.verification.abort_if) if rule.verification.abort_if else None,
        when_signals=frozenset(key for text in rule.when for name, key in references(text) if name in _SIGNAL_MAPS),
    )


def _mistakes(path: Path, content: CatalogueFile, catalogue: Catalogue) -> list[str]:
    _, tree = read_yaml(path)
    evaluator = Evaluator()
    evaluator.load(sample_variables(catalogue.signals, catalogue.settings))
    found = []
    for index, rule in enumerate(content.rules):
        problems = [*_wrong_expressions(rule, evaluator), *_unknown_names(rule, catalogue), *_unfilled(rule)]
        found += [
            f"{path}:{line_of(tree, ('rules', index, *place))}: rule {rule.id}: {text}" for place, text in problems
        ]
    return found


def _wrong_expressions(rule: Rule, evaluator: Evaluator) -> Iterable[tuple[tuple[str | int, ...], str]]:
    for place, text in rule.expressions():
        wants_truth = place[0] not in ("change", "values")
        try:
            result = evaluator.strictly(compile_expression(text))
        except KeyError:
            continue  # an unknown name; that is another message
        except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
            reason = str(error).split(". ")[0]
            yield place, f"`{text}` does not run: {reason} (numbers need a decimal point: 2.0)"
            continue
        if isinstance(result, bool) is not wants_truth:
            kind = type(result).__name__
            yield place, f"`{text}` gives a {kind}; expected {'a truth value' if wants_truth else 'a number or text'}"


def _unknown_names(rule: Rule, catalogue: Catalogue) -> Iterable[tuple[tuple[str | int, ...], str]]:
    for place, text in rule.expressions():
        for mapping, key in sorted(references(text)):
            if mapping in _SIGNAL_MAPS and key not in catalogue.signals:
                yield place, f"unknown signal {key!r}; declare it with its unit under `signals`"
            if mapping == "settings" and key not in catalogue.settings:
                yield place, f"unknown settings gauge {key!r}; declare it under `settings`"
    for index, name in enumerate(rule.evidence):
        if name not in catalogue.signals and name not in catalogue.settings:
            yield ("evidence", index), f"unknown signal or settings gauge {name!r}"
    for place, name in (
        (("effect", "signal"), rule.effect.signal),
        (("verification", "signal"), rule.verification.signal),
    ):
        if name not in catalogue.signals:
            yield place, f"unknown signal {name!r}"


def _unfilled(rule: Rule) -> Iterable[tuple[tuple[str | int, ...], str]]:
    known = PLACEHOLDERS | rule.values.keys()
    for place, template in rule.templates():
        for name in sorted(placeholders(template) - known):
            yield place, f"nothing fills {{{name}}}; known are {', '.join(sorted(known))}"


def _repeated(contents: Mapping[Path, CatalogueFile]) -> list[str]:
    first: dict[str, str] = {}
    found = []
    for path, content in contents.items():
        _, tree = read_yaml(path)
        for index, rule in enumerate(content.rules):
            place = f"{path}:{line_of(tree, ('rules', index, 'id'))}"
            if rule.id in first:
                found.append(f"{place}: rule {rule.id}: this id is taken by {first[rule.id]}")
            first.setdefault(rule.id, place)
    return found
