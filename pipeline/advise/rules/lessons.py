"""What outcomes and answers teach: how often each rule helps, and how much a stated confidence is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from models.efficacy import Efficacy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.records import Recommendation


class _Lesson(NamedTuple):
    """What one result says of a rule."""

    helped: float
    weight: float
    calibrates: bool
    """Whether it tells if the recommendation was right: a no may have other reasons."""


_LESSONS: Final[Mapping[str, _Lesson]] = {
    "verified": _Lesson(helped=1.0, weight=1.0, calibrates=True),
    "no_effect": _Lesson(helped=0.0, weight=1.0, calibrates=True),
    "regressed": _Lesson(helped=0.0, weight=2.0, calibrates=True),
    "false_alarm": _Lesson(helped=0.0, weight=1.0, calibrates=True),
    "rejected": _Lesson(helped=0.0, weight=0.5, calibrates=False),
}


def learned_as(rule: str, version: str) -> str:
    """The name under which a rule's success is learned: what another version of it did tells nothing of this one.

    The first version has the rule's own name, under which it was learned before versions were told apart.
    """
    return rule if version == "1" else f"{rule}@{version}"


class Lessons:
    """Keeps the efficacy in line with what came of recommendations."""

    def __init__(self) -> None:
        self.efficacy = Efficacy()

    def take(self, record: Recommendation, score: float, result: str) -> None:
        """Learn from a recommendation that ended so; `score` is its confidence before calibration.

        The hit rate counts all versions of the rule, what is learned only this one.
        """
        rule = record.provenance.rule
        self.efficacy.count(rule, result)
        lesson = _LESSONS.get(result)
        if lesson is None:
            return
        name = learned_as(rule, record.provenance.rule_version)
        self.efficacy.learn(name, record.target.service, lesson.helped, lesson.weight)
        if lesson.calibrates:
            self.efficacy.calibrate(score, lesson.helped)

    def statistics(self) -> dict[str, float]:
        """`rule_applied_total` and `rule_verified_total` by rule."""
        found: dict[str, float] = {}
        for rule in sorted(self.efficacy.results):
            hits, tries = self.efficacy.hit_rate(rule)
            found[f'rule_applied_total{{rule="{rule}"}}'] = tries
            found[f'rule_verified_total{{rule="{rule}"}}'] = hits
        return found
