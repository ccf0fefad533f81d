"""Which metrics lead to which advice: what somebody must publish for a rule to speak, or to be surer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pipeline.advise.rules.expressions import spoken_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pipeline.advise.rules.catalogue import Catalogue, CompiledRule
    from pipeline.signals.definitions import Definitions

_BUCKET: Final = "_bucket"


class Need(NamedTuple):
    """A signal or settings gauge, and the advice that comes of it."""

    name: str
    metrics: tuple[str, ...]
    """Names of the series that it is made of; of a histogram the name without `_bucket`."""
    asked_by: tuple[str, ...]
    """Rules that ask for it in the conditions that must hold, or before they name a new value."""
    surer: tuple[str, ...]
    """Rules that it makes surer, or tells apart from others."""
    assumed: float | None = None
    """Taken where nobody publishes it."""


def needs(catalogue: Catalogue, definitions: Definitions) -> list[Need]:
    """Each signal, then each settings gauge, that some rule looks at; in the order of signals.yaml."""
    asked, surer = _looked_at(catalogue)
    found: list[Need] = []
    for name, signal in definitions.signals.items():
        metrics = tuple(_series(each for term in signal.terms() for each in term.of))
        found.append(Need(name, metrics, asked.get(name, ()), surer.get(name, ())))
    for name, term in definitions.settings.items():
        entry = catalogue.settings.get(name)
        assumed = entry.default if entry is not None else None
        found.append(Need(name, tuple(term.of), asked.get(name, ()), surer.get(name, ()), assumed))
    return [need for need in found if need.asked_by or need.surer]


def _looked_at(catalogue: Catalogue) -> tuple[Mapping[str, tuple[str, ...]], Mapping[str, tuple[str, ...]]]:
    asked: dict[str, list[str]] = {}
    surer: dict[str, list[str]] = {}
    for entry in catalogue.rules:
        required = set(entry.when_signals).union(*map(spoken_of, _formulas(entry)))
        beside = set().union(*map(spoken_of, _beside(entry, catalogue))) - required
        for names, rules in ((required, asked), (beside, surer)):
            for name in names:
                rules.setdefault(name, []).append(entry.rule.id)
    return _sorted(asked), _sorted(surer)


def _formulas(entry: CompiledRule) -> Iterator[str]:
    yield from filter(None, (entry.rule.change.current, entry.rule.change.recommended))


def _beside(entry: CompiledRule, catalogue: Catalogue) -> Iterator[str]:
    yield from (support.condition for support in entry.rule.supports)
    for other in entry.rule.unless:
        look_alike = catalogue.look_alikes.get(other) if isinstance(other, str) else other
        if look_alike is not None:
            yield look_alike.condition


def _series(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name.removesuffix(_BUCKET) for name in names))


def _sorted(found: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(sorted(rules)) for name, rules in found.items()}
