"""`config/signals.yaml`: how each signal is derived from raw series."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.configfile import in_file, load_model, read_yaml
from pipeline.errors import SettingsError
from pipeline.signals.aliases import Spelling, mistakes
from pipeline.signals.patterns import Pattern

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.series import Series


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Term(_Part):
    """One number per service and frame: series of some names, each reduced over the frame, then over the service."""

    of: list[str] = Field(min_length=1, description="Metric names; one name may stand alone")
    where: dict[str, Pattern] = Field(default_factory=dict, description="Label to regular expression (whole value)")
    take: Literal["rate", "increase", "mean", "last", "max"] = Field(
        default="last", description="How a series is reduced over the frame; rate and increase are for counters"
    )
    over: Literal["sum", "mean", "max"] = Field(default="sum", description="How a service's series are put together")
    scale: float = 1.0
    default: float | None = Field(default=None, description="Used where the service has no such series in the frame")

    @field_validator("of", mode="before")
    @classmethod
    def _one_name(cls, names: object) -> object:
        return [names] if isinstance(names, str) else names

    def selects(self, series: Series) -> bool:
        """Whether the series is one of this term's."""
        return series.name in self.of and all(
            re.fullmatch(pattern, series.labels.get(label, "")) for label, pattern in self.where.items()
        )


class Quantile(_Part):
    """A quantile of a histogram, its buckets merged over the service's instances."""

    of: str = Field(description="Name of the bucket series (`…_bucket`)")
    q: Annotated[float, Field(gt=0, lt=1)]
    where: dict[str, Pattern] = Field(default_factory=dict, description="Label to regular expression (whole value)")

    def buckets(self) -> Term:
        """The term that selects the buckets."""
        return Term(of=[self.of], where=self.where, take="increase")


class Signal(_Part):
    """A derived signal; exactly one of value, ratio and quantile says how."""

    unit: str = Field(default="", description="UCUM unit of the result")
    worse: Literal["up", "down", "both"] = Field(default="up", description="In which direction it hurts")
    floor: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="Deviations from the expectation smaller than this (in the unit) matter to nobody"
    )
    floor_share: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="Likewise, as a share of the expected value; the larger floor counts"
    )
    description: str = ""
    value: Term | None = None
    ratio: Annotated[list[Term], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="Numerator, denominator"
    )
    complement: bool = Field(default=False, description="Use one minus the ratio")
    quantile: Quantile | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        forms = [form for form in ("value", "ratio", "quantile") if getattr(self, form) is not None]
        if len(forms) != 1:
            raise ValueError(
                f"exactly one of value, ratio and quantile is wanted, found {' and '.join(forms) or 'none'}"
            )
        if self.complement and self.ratio is None:
            raise ValueError("complement goes with ratio")
        return self

    def terms(self) -> list[Term]:
        """The terms whose series this signal reads."""
        if self.value is not None:
            return [self.value]
        if self.ratio is not None:
            return list(self.ratio)
        assert self.quantile is not None  # noqa: S101  one of three, by validation
        return [self.quantile.buckets()]


class CallTerm(_Part):
    """A counter of calls between two services that are named by its labels."""

    of: str = Field(min_length=1, description="Metric name")
    client: str = Field(default="client", min_length=1, description="Label that names the caller")
    server: str = Field(default="server", min_length=1, description="Label that names the callee")


class Definitions(_Part):
    """The whole file."""

    signals: dict[str, Signal]
    settings: dict[str, Term] = Field(default_factory=dict, description="Configured limits that are seen as metrics")
    calls: list[CallTerm] = Field(
        default_factory=list, description="Counters that tell who calls whom: the service graph is learned from them"
    )
    aliases: dict[str, list[Spelling]] = Field(
        default_factory=dict,
        description="For a name that signals use, other spellings of it; the first ones count first",
    )
    unwatched: list[Pattern] = Field(
        default_factory=list, description="Regular expressions of raw series' names that no learner watches"
    )

    def names(self) -> set[str]:
        """Names of series that signals and settings read."""
        terms = [term for signal in self.signals.values() for term in signal.terms()]
        return {name for term in (*terms, *self.settings.values()) for name in term.of}

    def watches(self, name: str) -> bool:
        """Whether a raw series of this name, used by no signal, is watched by the learners."""
        return not any(re.fullmatch(pattern, name) for pattern in self.unwatched)


def load_definitions(config_dir: Path) -> Definitions:
    """`signals.yaml` of this folder. Raises SettingsError with file, line and key."""
    path = config_dir / "signals.yaml"
    definitions = load_model(path, Definitions)
    wrong = list(mistakes(definitions.aliases, definitions.names()))
    if wrong:
        place_of = in_file(path, read_yaml(path)[1])
        keys = ((("aliases", *place), text) for place, text in wrong)
        raise SettingsError("\n".join(f"{place_of(key)}: {'.'.join(map(str, key))}: {text}" for key, text in keys))
    return definitions
