"""Names and units reconciled: which other series mean the same as the ones that signals are derived from.

`aliases` in signals.yaml lists, for a name that signals use, how others spell it. A histogram is one entry: `_bucket`,
`_count` and `_sum` follow.
"""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.configfile import nearest
from pipeline.series import Kind, Series, kind_of_name, unit_of_name
from pipeline.signals.patterns import Pattern
from pipeline.signals.units import KNOWN, factor

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

_TOLD_BY_NAME = (Kind.GAUGE, Kind.COUNTER)
_PARTS = ("_bucket", "_count", "_sum")


class Spelling(BaseModel):
    """How somebody else writes a series."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(default="", description="As it is sent")
    names: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        description="Where one thing is sent in parts: their names, and the labels these stand for",
    )
    unit: str | None = Field(
        default=None, description="UCUM unit of its values where the producer does not say; they are converted"
    )
    scale: float | None = Field(default=None, description="What its values are multiplied by, instead of a unit")
    where: dict[str, Pattern] = Field(
        default_factory=dict, description="Its labels to regular expressions (whole value)"
    )
    labels: dict[str, str] = Field(default_factory=dict, description="Its labels to the names that signals know")
    values: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="For a label (new name), its values to those that signals know"
    )
    rate: bool = Field(default=False, description="A gauge that is the counter's rate per second already")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.name) == bool(self.names):
            raise ValueError("exactly one of name and names is wanted")
        if self.unit is not None and self.scale is not None:
            raise ValueError("unit and scale are two ways to say the same; keep one of them")
        if self.unit is not None and self.unit not in KNOWN:
            raise ValueError(f"unit {self.unit!r} is none of {', '.join(KNOWN)}")
        return self

    def parts(self) -> dict[str, dict[str, str]]:
        """Names as they are sent, and the labels that each stands for."""
        return self.names or {self.name: {}}

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a series of this name with these labels is meant."""
        return all(re.fullmatch(pattern, labels.get(label, "")) for label, pattern in self.where.items())

    def renamed(self, name: str, labels: Mapping[str, str]) -> dict[str, str]:
        """Labels of a series of this name as signals know them; one that has the known name already stays as it is."""
        known = {label: value for label, value in labels.items() if label not in self.labels}
        for label, value in labels.items():
            if label in self.labels:
                known.setdefault(self.labels[label], value)
        for label, values in self.values.items():
            if label in known:
                known[label] = values.get(known[label], known[label])
        return {**known, **self.names.get(name, {})}


class Reading(NamedTuple):
    """A series as a signal reads it."""

    series: Series
    """Name, labels and kind that signals know."""
    scale: float = 1.0
    """What values are multiplied by; of a bucket, what its bound is."""
    rank: int = 0
    """Of several spellings that a service sends, the lowest counts."""
    is_rate: bool = False
    """Whether values are the rate of what the name says."""


class Aliases:
    """Finds what a series can be read as."""

    def __init__(self, table: Mapping[str, Sequence[Spelling]]) -> None:
        self._spelt: dict[str, list[tuple[str, int, Spelling]]] = {}
        for name, spellings in table.items():
            for rank, spelling in enumerate(spellings, 1):
                for sent, part in product(spelling.parts(), ("", *_PARTS)):
                    self._spelt.setdefault(sent + part, []).append((name + part, rank, spelling))

    def readings(self, series: Series) -> Iterator[Reading]:
        """The series as it is, and as each name that it is another spelling of."""
        yield Reading(series)
        for name, rank, spelling in self._spelt.get(series.name, ()):
            if spelling.matches(series.labels):
                kind = _kind(series.kind, name, spelling)
                read = Series(
                    name=name, labels=spelling.renamed(series.name, series.labels), kind=kind, unit=unit_of_name(name)
                )
                yield Reading(read, _scale(series, name, spelling), rank, spelling.rate)

    def kind(self, series: Series) -> Kind:
        """How the series' values are to be read: as those of what it is another spelling of."""
        return next((reading.series.kind for reading in self.readings(series) if reading.rank), series.kind)

    def as_read(self, series: Series) -> Series:
        """The series with that kind."""
        kind = self.kind(series)
        return series if kind is series.kind else msgspec.structs.replace(series, kind=kind)


def mistakes(
    table: Mapping[str, Sequence[Spelling]], used: Collection[str]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Places in the table (name, place in its list, key) and what is wrong there; `used` are the names in signals."""
    for name, spellings in table.items():
        if not any(name + part in used for part in ("", *_PARTS)):
            yield (name,), f"no signal and no setting reads {name!r}{nearest(name, used)}"
        wanted = unit_of_name(name)
        for place, spelling in enumerate(spellings):
            if name in spelling.parts():
                yield (name, place), f"{name!r} needs no alias of its own name"
            if spelling.unit is not None and factor(spelling.unit, wanted) is None:
                yield (name, place, "unit"), _incomparable(spelling.unit, name, wanted)


def _incomparable(unit: str, name: str, wanted: str) -> str:
    if not wanted:
        return f"the unit of {name!r} does not show in its name; say scale instead of unit"
    return f"{unit!r} cannot be turned into {wanted!r}, the unit of {name!r}"


def _kind(kind: Kind, name: str, spelling: Spelling) -> Kind:
    if spelling.rate:
        return Kind.GAUGE
    known = kind_of_name(name)
    # Formats that cannot say go by the name, so what means a gauge may be called a total and the other way round.
    return known if kind in _TOLD_BY_NAME and known in _TOLD_BY_NAME else kind


def _scale(series: Series, name: str, spelling: Spelling) -> float:
    if series.name.endswith("_count") and name.endswith("_count"):
        return 1.0
    if spelling.scale is not None:
        return spelling.scale
    wanted = unit_of_name(name)
    for unit in (series.unit, spelling.unit or wanted):
        conversion = factor(unit, wanted)
        if conversion is not None:
            return conversion
    return 1.0
