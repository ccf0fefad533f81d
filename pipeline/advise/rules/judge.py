"""Which rules match one service, how sure that is, and what each would change.

Score = efficacy · tier · fit · certainty of the cause · place, all in [0, 1]; confidence is the score calibrated by
what came of recommendations with such a score (models/efficacy.py):

1. efficacy: how often the rule helps on this service; the catalogue's prior until outcomes and answers tell
2. tier: a mechanism seen at work 1, a change just before 0.85, symptoms alone 0.5
3. fit: 0.75 where the required conditions alone hold, up to 1 with all supporting observations
4. certainty: how clearly this service is the cause (1 where an incident has one service)
5. place: 1 on the cause itself; elsewhere a mechanism counts 0.7 (0.9 on a backend that serves no requests and so
   never counts as the cause); rules that look at symptoms or changes alone are asked there only where the service
   has much unexplained harm of its own: two faults may meet in one incident
6. 0.9 where the present value is assumed, because no gauge tells it

A rule whose own `abort_if` holds already would be undone as soon as it was applied: its match says so (`hindered`), and
the advisor puts it behind all that can be done now. Its score stays: how likely it mends its finding is the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from pipeline import quantities as fmt
from pipeline.advise.rules.expressions import Evaluator, references, spoken_of
from pipeline.advise.rules.lessons import Lessons, learned_as
from pipeline.advise.rules.rule import Tier
from pipeline.advise.rules.words import with_value
from pipeline.advise.symptoms import FELT, qualifying
from pipeline.records import Change

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.advise.rules.catalogue import Catalogue, CompiledRule
    from pipeline.advise.rules.facts import Facts

_REQUIRED: Final = 0.75
_ELSEWHERE: Final = 0.7
_BACKEND: Final = 0.9
_ASSUMED: Final = 0.9
_ROUNDING: Final = 1e-9
_NOTABLE: Final = 0.1


class Place(NamedTuple):
    """Where a service stands in its incident: the cause of it, suspect of a fault of its own, or neither."""

    is_cause: bool
    certainty: float
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """A rule that holds for a service, with the change it asks for."""

    entry: CompiledRule
    facts: Facts
    score: float
    confidence: float
    weakest: str
    """What holds the confidence down most, in words."""
    change: Change
    weights: Mapping[str, float]
    """Share of the confidence by signal; they add up to 1."""
    values: Mapping[str, str]
    """What fills the templates."""
    verified_by: str
    """The signal that showed the trouble, and so tells whether the change mends it."""
    hindered: str = ""
    """What its own `abort_if` asks for, in words, where that holds already."""
    services: tuple[str, ...] = ()
    """All that use what would be changed, where several do; its own among them."""

    @property
    def key(self) -> str:
        """What would be changed: one standing recommendation each."""
        target = self.entry.rule.target
        return standing_key(self.facts.service, target.component, target.resource, self.change.parameter)

    @property
    def behind(self) -> list[str]:
        """Signals that the rule looks at, of the anomalies that count; sorted."""
        rule = self.entry.rule
        asked = {*self.entry.when_signals, *rule.evidence}
        if any("symptom." in condition for condition in rule.when):
            asked |= FELT
        return sorted({each.signal for each in qualifying(self.facts.frame.anomalies) if each.signal in asked})

    @property
    def keys(self) -> list[str]:
        """The same of all that share it, its own first."""
        target = self.entry.rule.target
        return [
            standing_key(service, target.component, target.resource, self.change.parameter)
            for service in dict.fromkeys([self.facts.service, *self.services])
        ]


def standing_key(service: str, component: str, resource: str, parameter: str) -> str:
    """Identity of a thing that can be changed."""
    return f"{service}\x1f{component}\x1f{resource}\x1f{parameter}"


class Judge:
    """Asks the catalogue about one service at a time."""

    def __init__(self, catalogue: Catalogue, lessons: Lessons | None = None) -> None:
        self.catalogue = catalogue
        self._lessons = lessons or Lessons()
        self.evaluator = Evaluator()
        self._units = catalogue.units()

    def matches(self, facts: Facts, place: Place) -> list[Match]:
        """Rules that hold, in the order of their ids."""
        self.evaluator.load(facts.variables())
        found = (self._match(entry, facts, place) for entry in self.catalogue.rules)
        return [match for match in found if match is not None]

    def _match(self, entry: CompiledRule, facts: Facts, place: Place) -> Match | None:
        rule, evaluator = entry.rule, self.evaluator
        if rule.tier is not Tier.MECHANISM and not (place.is_cause or place.suspect):
            return None
        if not all(map(evaluator.holds, entry.when)) or any(map(evaluator.holds, entry.unless)):
            return None
        change = self._change(entry)
        if change is None:
            return None
        instead = (signal for program, signal in entry.instead if evaluator.holds(program))
        verified_by = next(instead, rule.verification.signal)
        supported = [evaluator.holds(program) for program, _ in entry.supports]
        efficacy = self._lessons.efficacy
        factors = {
            f"the rule helps in {{:.0%}} of such cases on {facts.service}": efficacy.probability(
                learned_as(rule.id, rule.version), facts.service, rule.prior
            ),
            rule.tier.words: rule.tier.weight,
            "not all that would support it shows": _fit(entry, supported),
            "another service is as likely the cause": _certainty(facts, place),
            "its present value is assumed, no gauge tells it": _assumed(entry, facts),
        }
        score = math.prod(factors.values())
        weakest = min(factors, key=factors.__getitem__)
        return Match(
            entry=entry,
            facts=facts,
            score=score,
            confidence=round(efficacy.confidence(score), 4),
            weakest=weakest.format(factors[weakest]),
            change=change,
            weights=_weights(entry, facts, supported),
            values=self._values(entry, facts, change),
            verified_by=verified_by,
            hindered=self._hindered(entry, facts),
        )

    def _hindered(self, entry: CompiledRule, facts: Facts) -> str:
        """That its own reason to abort holds before anything was changed; else nothing."""
        abort_if = entry.rule.verification.abort_if
        if entry.abort_if is None or not abort_if or not self.evaluator.holds(entry.abort_if):
            return ""
        return with_value(abort_if, self._units, facts.signals())

    def _change(self, entry: CompiledRule) -> Change | None:
        """From what to what; None where the formula has no result or leaves no room to move."""
        shape = entry.rule.change
        found = {name: self.evaluator.value(program) for name, program in entry.change.items()}
        current, recommended = found.get("current"), found.get("recommended")
        lower, upper = _number(found.get("lower")), _number(found.get("upper"))
        if isinstance(recommended, float):
            peak = _number(found.get("observed_peak"))
            floor = None if peak is None else peak * (1.0 + shape.margin)
            recommended = _within(recommended, (lower, floor), upper, shape.step)
        if recommended is None or _same(current, recommended):
            return None
        downward = isinstance(current, float) and isinstance(recommended, float) and recommended < current
        if downward and shape.lowers == "never":
            return None
        return Change(
            parameter=shape.parameter,
            current=current,
            recommended=recommended,
            lower=lower,
            upper=upper,
            unit=shape.unit,
        )

    def _values(self, entry: CompiledRule, facts: Facts, change: Change) -> dict[str, str]:
        known = {"current": change.current, "recommended": change.recommended}
        self.evaluator.load(known)
        deploy = facts.latest.get("deploy") or facts.latest.get("config") or {}
        values = {
            "service": facts.service,
            "system": facts.frame.system,
            "current": shown(change.current),
            "recommended": shown(change.recommended),
            "lower": shown(change.lower),
            "upper": shown(change.upper),
            "unit": change.unit,
            "version": deploy.get("version") or "the new version",
            "previous_version": deploy.get("previous_version") or "the version before",
        }
        units = entry.rule.units
        for name, program in entry.values.items():
            value = self.evaluator.value(program)
            values[name] = fmt.value(value, units[name]) if name in units else shown(value)
        self.evaluator.load(dict.fromkeys(known))  # the next rule's expressions must not see them
        return values


def shown(value: float | str | None) -> str:
    """A value as it stands in a command: whole numbers without a decimal point."""
    if value is None:
        return "unknown"
    if isinstance(value, str):
        return value
    return str(int(value)) if float(value).is_integer() else f"{value:.4g}"


def _within(
    value: float, floors: tuple[float | None, float | None], upper: float | None, step: float | None
) -> float | None:
    """The value between its bounds, rounded up to the step; None where the bounds leave no room."""
    floor = max((bound for bound in floors if bound is not None), default=-math.inf)
    value = max(value, floor)
    if step is not None:
        value = math.ceil(value / step - _ROUNDING) * step
    if upper is not None and value > upper:
        value = math.floor(upper / step + _ROUNDING) * step if step is not None else upper
    return value if value >= floor else None


def _same(current: float | str | bool | None, recommended: float | str | bool) -> bool:
    if isinstance(current, float) and isinstance(recommended, float):
        return math.isclose(current, recommended, rel_tol=1e-6)
    return current == recommended


def _number(value: float | str | bool | None) -> float | None:
    return value if isinstance(value, float) else None


def _fit(entry: CompiledRule, supported: list[bool]) -> float:
    total = sum(weight for _, weight in entry.supports)
    if not total:
        return 1.0
    held = sum(weight for (_, weight), holds in zip(entry.supports, supported, strict=True) if holds)
    return _REQUIRED + (1.0 - _REQUIRED) * held / total


def _certainty(facts: Facts, place: Place) -> float:
    if place.is_cause:
        return place.certainty
    return _ELSEWHERE if "http.rps" in facts.frame.signals else _BACKEND


def _assumed(entry: CompiledRule, facts: Facts) -> float:
    current = entry.rule.change.current
    return _ASSUMED if current is not None and facts.assumed & _settings_of(current) else 1.0


def _settings_of(text: str) -> set[str]:
    return {key for name, key in references(text) if name == "settings"}


def _weights(entry: CompiledRule, facts: Facts, supported: list[bool]) -> dict[str, float]:
    """Required signals share what the required conditions give, supporting ones the rest; what is as usual has none."""
    present = [name for name in entry.rule.evidence if name in facts.frame.signals or name in facts.settings]
    supporting = {
        key
        for support, holds in zip(entry.rule.supports, supported, strict=True)
        if holds
        for key in spoken_of(support.condition)
    }
    signals = facts.signals()
    raw = {
        name: (_REQUIRED if name in entry.when_signals else 1.0 - _REQUIRED if name in supporting else 0.0)
        * _deviates(signals.get(name), facts.usual.get(name))
        for name in present
    }
    total = sum(raw.values())
    return {name: round(value / total if total else 1.0 / len(raw), 4) for name, value in raw.items()}


def _deviates(observed: float | None, usual: float | None) -> bool:
    """Whether a value says something: it is not within a tenth of what is usual. A setting always does."""
    return observed is None or usual is None or abs(observed - usual) > _NOTABLE * abs(usual)
