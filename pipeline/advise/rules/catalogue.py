"""The catalogue of tuning rules, read and checked once at the start.

Errors name file and line. Checked are the shape of every rule, that each expression compiles and runs over sample
facts, that every signal and setting it names is known, and that every {placeholder} has a value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from pipeline.advise.incidents.cause import HARM_SIGNALS
from pipeline.advise.incidents.topology import Topology, load_topology
from pipeline.advise.rules.expressions import Evaluator, Program, compile_expression, references, spoken_of
from pipeline.advise.rules.facts import BUDGET, PLACEHOLDERS, sample_variables
from pipeline.advise.rules.rule import CatalogueFile, ForecastEntry, LookAlike, Rule, SettingEntry, placeholders
from pipeline.configfile import line_of, load_model, nearest, read_yaml
from pipeline.detect.detectors.thresholds import load_thresholds
from pipeline.errors import SettingsError
from pipeline.signals.definitions import load_definitions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import yaml

    from pipeline.detect.detectors.thresholds import Objective
    from pipeline.signals.definitions import Definitions, Signal

    Place = tuple[str | int, ...]
    Mistake = tuple[Place, str]

GUARDS: Final = ("http.latency.mean", "http.latency.p95", "http.error_ratio", "http.rps")
"""Signals that a change must not make worse, whatever it is meant to mend."""
_SIGNAL_MAPS: Final = ("signals", "usual", "expected", "slope", "steadiness", "peak", "before", "rising", "falling")
_TREND_MAPS: Final = ("slope", "steadiness")
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
    instead: tuple[tuple[Program, str], ...]
    """Signals to verify by in place of the usual one, each with the condition for it."""
    condition: Program
    abort_if: Program | None
    applied_if: Program | None
    gauge: str | None
    """The settings gauge that tells the present value, where it is that alone."""
    when_signals: frozenset[str]
    """Signals that the required conditions speak of."""
    past_signals: frozenset[str]
    """Signals whose recent past its expressions look at."""
    trend_signals: frozenset[str]
    """Those of them whose trend they look at."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All rules in the order of their ids, and the vocabulary they are written in."""

    rules: tuple[CompiledRule, ...]
    signals: Mapping[str, str]
    """Unit by signal."""
    settings: Mapping[str, SettingEntry]
    baseline: Mapping[str, float]
    look_alikes: Mapping[str, LookAlike]
    by_id: Mapping[str, CompiledRule]
    shapes: Mapping[str, Signal]
    """How each signal is defined: in which direction it hurts, and which deviation matters."""
    forecasts: Mapping[str, ForecastEntry]
    healthy: Mapping[str, float]
    """The state that rules' tests start from."""
    objectives: Mapping[str, Objective] = field(default_factory=dict)

    def units(self) -> dict[str, str]:
        """Unit by signal and by settings gauge."""
        return {**self.signals, **{name: entry.unit for name, entry in self.settings.items()}}

    def verified_signals(self) -> tuple[str, ...]:
        """Signals that verifications compare before and after; sorted."""
        named = {name for entry in self.rules for _, name in _checked(entry.rule)} | {*GUARDS}
        return tuple(sorted(name for name in named if name in self.signals))

    def history_signals(self) -> tuple[str, ...]:
        """Signals whose recent past some rule, or the search for the cause, looks at; sorted."""
        looked_at = frozenset().union(*(entry.past_signals for entry in self.rules))
        return tuple(sorted(frozenset(HARM_SIGNALS).union(looked_at, self.verified_signals(), self.forecasts)))

    def trend_signals(self) -> tuple[str, ...]:
        """Signals of whose trend some rule speaks; sorted."""
        return tuple(sorted(frozenset().union(*(entry.trend_signals for entry in self.rules))))


def build_catalogue(files: Iterable[CatalogueFile], definitions: Definitions) -> Catalogue:
    """One catalogue of several files' contents; a look-alike that nothing defines is left out here."""
    signals = {name: signal.unit for name, signal in definitions.signals.items()}
    settings = {name: SettingEntry() for name in definitions.settings}
    baseline: dict[str, float] = {}
    forecasts: dict[str, ForecastEntry] = {}
    healthy: dict[str, float] = {}
    look_alikes: dict[str, LookAlike] = {}
    rules: list[Rule] = []
    for content in files:
        settings.update((name, entry) for name, entry in content.settings.items() if name in definitions.settings)
        baseline.update(content.baseline)
        healthy.update(content.healthy)
        forecasts.update((name, entry) for name, entry in content.forecasts.items() if name in signals)
        look_alikes.update(content.look_alikes)
        rules.extend(content.rules)
    compiled = tuple(_compile(rule, look_alikes) for rule in sorted(rules, key=lambda rule: rule.id))
    by_id = {entry.rule.id: entry for entry in compiled}
    return Catalogue(compiled, signals, settings, baseline, look_alikes, by_id, definitions.signals, forecasts, healthy)


def load_catalogue(directory: Path, definitions: Definitions) -> Catalogue:
    """Catalogue of all `*.yaml` of a folder, about the signals and settings gauges of these definitions.

    Raises SettingsError with one line a mistake.
    """
    paths = sorted(directory.glob("*.yaml"))
    if not paths:
        raise SettingsError(f"{directory}: holds no *.yaml file with tuning rules")
    contents = {path: load_model(path, CatalogueFile) for path in paths}
    catalogue = build_catalogue(contents.values(), definitions)
    mistakes = [*_repeated(contents)]
    for path, content in contents.items():
        mistakes += [(path, *mistake) for mistake in _mistakes(content, catalogue)]
    if mistakes:
        raise SettingsError("\n".join(_located(mistakes)))
    return catalogue


def locate(directory: Path, rule: str, *place: str | int) -> str:
    """`file:line` of a part of this rule; the folder where no file has it."""
    for path in sorted(directory.glob("*.yaml")):
        data, tree = read_yaml(path)
        rules = data.get("rules", ()) if isinstance(data, dict) else ()
        for index, entry in enumerate(rules):
            if entry.get("id") == rule:
                return f"{path}:{line_of(tree, ('rules', index, *place))}"
    return str(directory)


def load_advice(config_dir: Path) -> tuple[Catalogue, Topology]:
    """The catalogue and the service graph of a configuration folder. Raises SettingsError."""
    definitions = load_definitions(config_dir)
    catalogue = load_catalogue(config_dir / "catalogue", definitions)
    catalogue = replace(catalogue, objectives=load_thresholds(config_dir, definitions).objectives)
    return catalogue, load_topology(config_dir / "topology.yaml")


def _compile(rule: Rule, look_alikes: Mapping[str, LookAlike]) -> CompiledRule:
    formulas = ("current", "recommended", "lower", "upper", "observed_peak")
    others = [look_alikes.get(other) if isinstance(other, str) else other for other in rule.unless]
    unless = [other.condition for other in others if other is not None]
    texts = [*(text for _, text in rule.expressions()), *unless]
    return CompiledRule(
        rule=rule,
        when=tuple(map(compile_expression, rule.when)),
        unless=tuple(map(compile_expression, unless)),
        supports=tuple((compile_expression(support.condition), support.weight) for support in rule.supports),
        change={
            name: compile_expression(text) for name in formulas if (text := getattr(rule.change, name)) is not None
        },
        values={name: compile_expression(text) for name, text in rule.values.items()},
        instead=tuple((compile_expression(other.condition), other.signal) for other in rule.verification.instead),
        condition=compile_expression(rule.verification.condition),
        abort_if=compile_expression(rule.verification.abort_if) if rule.verification.abort_if else None,
        applied_if=compile_expression(rule.change.applied_if) if rule.change.applied_if else None,
        gauge=_gauge(rule.change.current),
        when_signals=frozenset().union(*map(spoken_of, rule.when)),
        past_signals=frozenset(_keys(texts, _HISTORY_MAPS)),
        trend_signals=frozenset(_keys(texts, _TREND_MAPS)),
    )


def _gauge(current: str | None) -> str | None:
    """The settings gauge that a `current` consists of."""
    found = re.fullmatch(r"""settings\[["']([^"']+)["']\]""", (current or "").strip())
    return found[1] if found else None


def _keys(texts: Iterable[str], mappings: tuple[str, ...]) -> set[str]:
    return {key for text in texts for name, key in references(text) if name in mappings}


def _located(mistakes: Iterable[tuple[Path, Place, str]]) -> Iterator[str]:
    trees: dict[Path, yaml.Node | None] = {}
    for path, place, text in mistakes:
        if path not in trees:
            trees[path] = read_yaml(path)[1]
        yield f"{path}:{line_of(trees[path], place)}: {text}"


def _mistakes(content: CatalogueFile, catalogue: Catalogue) -> Iterator[Mistake]:
    evaluator = Evaluator()
    evaluator.load(sample_variables(catalogue.signals, catalogue.settings))
    yield from _unknown_keys(content, catalogue)
    for name, other in content.look_alikes.items():
        problems = [
            *_wrong(("if",), other.condition, catalogue, evaluator),
            *_unknown(("if",), other.condition, catalogue),
        ]
        yield from ((("look_alikes", name, *place), f"look-alike {name}: {text}") for place, text in problems)
    for index, rule in enumerate(content.rules):
        for check in (_wrong_expressions, _unknown_names, _unknown_in_tests, _unfilled, _without_value):
            for place, text in check(rule, catalogue, evaluator):
                yield ("rules", index, *place), f"rule {rule.id}: {text}"


def _unknown_keys(content: CatalogueFile, catalogue: Catalogue) -> Iterator[Mistake]:
    for name in content.settings:
        if name not in catalogue.settings:
            yield ("settings", name), _no_gauge(name, catalogue)
    for part in ("forecasts", "healthy", "baseline"):
        for name in getattr(content, part):
            if name not in catalogue.signals:
                yield (part, name), _no_signal(name, catalogue)


def _no_signal(name: str, catalogue: Catalogue) -> str:
    hint = nearest(name, catalogue.signals) or "; define it there, under `signals`"
    return f"unknown signal {name!r}: signals.yaml has none of this name{hint}"


def _no_gauge(name: str, catalogue: Catalogue) -> str:
    hint = nearest(name, catalogue.settings) or "; define it there, under `settings`"
    return f"unknown settings gauge {name!r}: signals.yaml has none of this name{hint}"


def _wrong_expressions(rule: Rule, catalogue: Catalogue, evaluator: Evaluator) -> Iterator[Mistake]:
    for place, text in rule.expressions():
        yield from _wrong(place, text, catalogue, evaluator)


def _wrong(place: Place, text: str, catalogue: Catalogue, evaluator: Evaluator) -> Iterator[Mistake]:
    """Try the expression on sample facts: it must run, and give what its place asks for."""
    wants_truth = place[0] not in ("change", "values") or place[1] == "applied_if"
    try:
        result = evaluator.strictly(compile_expression(text))
    except KeyError as error:
        if not any(_unknown(place, text, catalogue)):  # else that message says more
            yield place, f"`{text}` asks for {error}, which nothing gives"
        return
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        reason = str(error).split(". ")[0]
        yield place, f"`{text}` does not run: {reason} (numbers need a decimal point: 2.0)"
        return
    if isinstance(result, bool) is not wants_truth:
        kind = type(result).__name__
        yield place, f"`{text}` gives a {kind}; expected {'a truth value' if wants_truth else 'a number or text'}"


def _unknown_names(rule: Rule, catalogue: Catalogue, _: Evaluator) -> Iterator[Mistake]:
    for place, text in rule.expressions():
        yield from _unknown(place, text, catalogue)
    for index, other in enumerate(rule.unless):
        if isinstance(other, str) and other not in catalogue.look_alikes:
            yield ("unless", index), f"unknown look-alike {other!r}; define it under `look_alikes`"
    for index, name in enumerate(rule.evidence):
        if name not in catalogue.signals and name not in catalogue.settings:
            yield ("evidence", index), f"unknown signal or settings gauge {name!r}"
    for place, name in ((("effect", "signal"), rule.effect.signal), *_checked(rule)):
        if name not in catalogue.signals:
            yield place, _no_signal(name, catalogue)


def _checked(rule: Rule) -> Iterator[tuple[Place, str]]:
    """The signals by which a rule may be verified, each with its place in the rule."""
    yield ("verification", "signal"), rule.verification.signal
    for index, other in enumerate(rule.verification.instead):
        yield ("verification", "instead", index, "signal"), other.signal


def _unknown(place: Place, text: str, catalogue: Catalogue) -> Iterator[Mistake]:
    for mapping, key in sorted(references(text)):
        if mapping in _SIGNAL_MAPS and key not in catalogue.signals:
            yield place, _no_signal(key, catalogue)
        if mapping == "until" and key not in catalogue.forecasts and key != BUDGET:
            yield place, f"nothing says when {key!r} runs out; name it under `forecasts`"
        if mapping == "settings" and key not in catalogue.settings:
            yield place, _no_gauge(key, catalogue)


def _unknown_in_tests(rule: Rule, catalogue: Catalogue, _: Evaluator) -> Iterator[Mistake]:
    for index, test in enumerate(rule.tests):
        named = {part: getattr(test, part) for part in ("signals", "settings", "rising", "falling", "without")}
        named["verified_by"] = [test.verified_by] if test.verified_by is not None else []
        for part, names in named.items():
            for name in names:
                if name not in catalogue.signals and name not in catalogue.settings:
                    yield ("tests", index, part), f"unknown signal or settings gauge {name!r}"


def _unfilled(rule: Rule, _: Catalogue, __: Evaluator) -> Iterator[Mistake]:
    known = PLACEHOLDERS | rule.values.keys()
    for place, template in rule.templates():
        for name in sorted(placeholders(template) - known):
            yield place, f"nothing fills {{{name}}}; known are {', '.join(sorted(known))}"


def _without_value(rule: Rule, _: Catalogue, __: Evaluator) -> Iterator[Mistake]:
    for name in sorted(rule.units.keys() - rule.values.keys()):
        yield ("units", name), f"a unit of no value; `values` has {', '.join(sorted(rule.values)) or 'none'}"


def _repeated(contents: Mapping[Path, CatalogueFile]) -> Iterator[tuple[Path, Place, str]]:
    first: dict[str, Path] = {}
    for path, content in contents.items():
        for index, rule in enumerate(content.rules):
            if rule.id in first:
                yield path, ("rules", index, "id"), f"rule {rule.id}: this id is taken in {first[rule.id]}"
            first.setdefault(rule.id, path)
