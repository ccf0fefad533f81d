"""What a tuning rule is: the shape of an entry of `config/catalogue/*.yaml`.

Every tunable of a rule is declared here with its meaning; `duri catalogue show` and the errors of `duri catalogue
check` come from it.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from pipeline.advise.rules.expressions import compile_expression
from pipeline.records import Share

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")


def _compiles(text: str) -> str:
    compile_expression(text)
    return text


Expression = Annotated[str, AfterValidator(_compiles)]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Text = Annotated[str, Field(min_length=1)]


class Part(BaseModel):
    """A part of the catalogue; unknown keys are errors, because a misspelt key is a condition that is not there."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Tier(enum.StrEnum):
    """How near to the mechanism a rule looks; what is more specific goes first."""

    MECHANISM = "mechanism"
    """The signal of the mechanism itself: the pool is full, keys are evicted."""
    CHANGE = "change"
    """Somebody changed something just before."""
    GENERIC = "generic"
    """Symptoms alone."""

    @property
    def weight(self) -> float:
        """Factor on the confidence: symptoms alone convince less than a mechanism seen at work."""
        return {Tier.MECHANISM: 1.0, Tier.CHANGE: 0.85, Tier.GENERIC: 0.5}[self]

    @property
    def words(self) -> str:
        """What it rests on, for people."""
        return {
            Tier.MECHANISM: "it rests on the mechanism itself",
            Tier.CHANGE: "it rests on a change just before",
            Tier.GENERIC: "it rests on symptoms alone",
        }[self]


class LookAlike(Part):
    """A state that has the same symptoms and another remedy."""

    condition: Expression = Field(alias="if", description="CEL: holds where it is that state and not this rule's")
    because: Text = Field(description="Which state that is")


class Support(Part):
    """An observation that makes the finding surer without being needed for it."""

    condition: Expression = Field(alias="if", description="CEL")
    weight: Annotated[float, Field(gt=0, le=10)] = 1.0


class Subject(Part):
    """What the change is made to."""

    component: Text = Field(description="application, postgresql, redis, container, deployment, node")
    resource: str = ""


class ChangeFormula(Part):
    """From what to what, within which bounds. Formulas are CEL and give numbers, or text where there is no number."""

    parameter: Text
    current: Expression | None = Field(default=None, description="Present value")
    recommended: Expression
    lower: Expression | None = Field(default=None, description="Least sensible value")
    upper: Expression | None = Field(default=None, description="Greatest sensible value")
    applied_if: Expression | None = Field(
        default=None,
        description="Holds once it was changed, for what is no number; numbers are compared with `current`'s gauge",
    )
    step: Annotated[float, Field(gt=0)] | None = Field(default=None, description="Rounded up to a multiple of this")
    unit: str = ""
    observed_peak: Expression | None = Field(
        default=None, description="Highest use that was seen, in the parameter's unit; a limit stays above it"
    )
    margin: Annotated[float, Field(ge=0, le=10)] = Field(
        default=0.2, description="Share by which a limit stays above the observed peak"
    )
    lowers: Literal["never", "time", "limit"] = Field(
        default="never", description="Whether the formula may go below the present value, and of what kind it is"
    )

    @model_validator(mode="after")
    def _lowering_knows_the_peak(self) -> Self:
        if self.lowers == "limit" and self.observed_peak is None:
            raise ValueError("a limit may only be lowered where `observed_peak` says what is in use")
        return self


class CommandTemplate(Part):
    """A command or an edit, with {placeholders} for values."""

    via: Text
    run: Text


class EffectText(Part):
    """What to expect."""

    signal: Text
    text: Text
    basis: Text


class OtherSignal(Part):
    """A signal to verify by in place of the usual one."""

    condition: Expression = Field(alias="if", description="CEL: holds where this signal showed the trouble")
    signal: Text


class Check(Part):
    """How to see whether it worked. Conditions are CEL; `before` has the signals as they were at the change."""

    signal: Text = Field(description="The signal that must move: the one that showed the trouble")
    instead: list[OtherSignal] = Field(
        default_factory=list, description="Others in its place, where they showed it; the first that holds is taken"
    )
    condition: Expression
    after_s: Annotated[float, Field(gt=0, le=604_800)]
    settle_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=0.0, description="How long after the change nothing counts yet: a cache must warm up first"
    )
    abort_if: Expression | None = Field(
        default=None, description="What must not become true; more errors and slower requests never may"
    )


class Ramp(Part):
    """A value that changes by the minute."""

    start: float
    per_minute: float

    def at(self, minute: int) -> float:
        """The value so many minutes after the trouble began."""
        return self.start + self.per_minute * minute


class RuleTest(Part):
    """Frames in, recommendation out: what differs from the healthy state, and what the rule makes of it."""

    name: Text = "finds its fault"
    signals: dict[str, float | Ramp] = Field(default_factory=dict, description="Values in trouble")
    settings: dict[str, float] = Field(default_factory=dict, description="Settings gauges in trouble")
    rising: list[Text] = Field(default_factory=list, description="Signals with an open anomaly upwards")
    falling: list[Text] = Field(default_factory=list, description="Signals with an open anomaly downwards")
    without: list[Text] = Field(default_factory=list, description="Signals and gauges that nobody measures")
    change: Literal["deploy", "config", "scale", "restart", "other"] | None = Field(
        default=None, description="Kind of a change two minutes before the trouble"
    )
    minutes: Annotated[int, Field(ge=1, le=180)] = 6
    expect: Literal["first", "proposed", "absent"] = Field(
        default="first", description="Whether the rule is the first choice, one of them, or none"
    )
    recommended: float | str | None = Field(default=None, description="The value that it recommends")
    verified_by: Text | None = Field(default=None, description="The signal by which it is verified")
    stopped_by: dict[str, float] = Field(
        default_factory=dict, description="Signals after a change for which `abort_if` holds; in trouble it does not"
    )

    def ramps(self) -> Iterator[tuple[str, Ramp]]:
        """The signals, each as a value by the minute."""
        for name, value in self.signals.items():
            yield name, value if isinstance(value, Ramp) else Ramp(start=value, per_minute=0.0)


class Rule(Part):
    """One finding and the one change that mends it."""

    id: Identifier
    version: Text = Field(
        description="Raised where conditions, formula or commands change so that what came of it before tells nothing; "
        "it is learned anew then"
    )
    title: Text
    finding: Annotated[str, Field(pattern=r"^[A-Z0-9]+(_[A-Z0-9]+)*$", description="Finding code")]
    kind: Text = Field(description="Kind of change, the same for all rules that turn this knob")
    category: Literal["tuning", "capacity", "rollback", "fix", "investigate"]
    target: Subject
    tier: Tier
    prior: Share = Field(description="How often the rule is right where its conditions hold")
    when: list[Expression] = Field(min_length=1, description="CEL: all must hold")
    unless: list[str | LookAlike] = Field(
        default_factory=list, description="Names of the catalogue's look-alikes, or ones of the rule's own"
    )
    supports: list[Support] = Field(default_factory=list)
    evidence: list[Text] = Field(min_length=1, description="Signals to show, the telling one first")
    reason: Text = Field(description="One sentence, with {placeholders}")
    values: dict[str, Expression] = Field(default_factory=dict, description="Further values for placeholders (CEL)")
    units: dict[str, str] = Field(
        default_factory=dict, description="Units of those that people read: `s` makes 2 h 38 min of 9480 seconds"
    )
    change: ChangeFormula
    commands: list[CommandTemplate] = Field(min_length=1)
    restart_required: bool
    prerequisites: list[Text] = Field(default_factory=list)
    effect: EffectText
    risk: Literal["low", "medium", "high"]
    risk_note: str = ""
    undo: list[CommandTemplate] = Field(min_length=1)
    verification: Check
    links: list[Annotated[str, Field(pattern=r"^https://")]] = Field(default_factory=list)
    tests: list[RuleTest] = Field(default_factory=list, description="Run by `duri catalogue check`")

    def expressions(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every expression with its place in the rule."""
        for index, text in enumerate(self.when):
            yield ("when", index), text
        for index, look_alike in enumerate(self.unless):
            if isinstance(look_alike, LookAlike):
                yield ("unless", index, "if"), look_alike.condition
        for index, support in enumerate(self.supports):
            yield ("supports", index, "if"), support.condition
        for name in ("current", "recommended", "lower", "upper", "observed_peak", "applied_if"):
            if (formula := getattr(self.change, name)) is not None:
                yield ("change", name), formula
        for name, text in self.values.items():
            yield ("values", name), text
        for index, other in enumerate(self.verification.instead):
            yield ("verification", "instead", index, "if"), other.condition
        yield ("verification", "condition"), self.verification.condition
        if self.verification.abort_if is not None:
            yield ("verification", "abort_if"), self.verification.abort_if

    def templates(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every text with placeholders, with its place in the rule."""
        yield ("reason",), self.reason
        yield ("effect", "text"), self.effect.text
        yield ("risk_note",), self.risk_note
        for index, text in enumerate(self.prerequisites):
            yield ("prerequisites", index), text
        for index, command in enumerate(self.commands):
            yield ("commands", index, "run"), command.run
        for index, command in enumerate(self.undo):
            yield ("undo", index, "run"), command.run


def placeholders(template: str) -> set[str]:
    """Names in braces."""
    return set(_PLACEHOLDER.findall(template))


def fill(template: str, values: Mapping[str, str]) -> str:
    """The text with values in place of {names}; braces around anything else stay, so JSON needs no escaping."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)


class SettingEntry(Part):
    """A settings gauge of signals.yaml: its unit, and the value to assume where a service does not publish it."""

    unit: str = ""
    default: float | None = None
    basis: str = Field(default="the guide's value", description="Where the default comes from")
    zero_is_none: bool = Field(default=False, description="Zero or less says that there is no such limit")


class ForecastEntry(Part):
    """A utilisation that must not reach its limit."""

    limit: float = Field(description="What it must not reach, in the signal's unit")
    horizon_s: Annotated[float, Field(gt=0, le=2_592_000)] = Field(description="How far ahead it matters")
    least: float = Field(default=0.0, description="Below this nothing is said: there is room enough")


class CatalogueFile(Part):
    """One file of `config/catalogue/`: rules, and what is assumed about the signals and gauges of signals.yaml."""

    settings: dict[str, SettingEntry] = Field(default_factory=dict, description="What to assume, by settings gauge")
    forecasts: dict[str, ForecastEntry] = Field(default_factory=dict, description="What may run out, by signal")
    healthy: dict[str, float] = Field(default_factory=dict, description="The state that rules' tests start from")
    baseline: dict[str, float] = Field(default_factory=dict, description="What is usual before anything was learned")
    look_alikes: dict[str, LookAlike] = Field(
        default_factory=dict, description="States that several rules must be told apart from, by name"
    )
    rules: list[Rule] = Field(default_factory=list)
