"""The order of an incident's recommendations: what stands keeps its place unless another is clearly surer."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pipeline.advise.incidents.incident import OpenIncident
    from pipeline.advise.outcomes.standing import Standing

CLEARLY: Final = 1.2
"""Factor by which a newcomer must be surer to pass one that stands."""


class Behind(StrEnum):
    """Why a recommendation is not the first choice, in the order in which it counts."""

    UNDO = "behind the undo of what made things worse"
    APPLIED = "behind what was applied, until it is judged"
    STALE = "behind what holds now"
    HINDERED = "behind what can be done now"
    LATER = "not clearly surer than the first choice, which stood before it"
    LESS_SURE = "less sure than the first choice"


def in_order(incident: OpenIncident, standing: list[Standing]) -> list[Standing]:
    """Those of the incident, the surest first: one passes those that stand longer only where it is clearly surer."""
    by_id = {each.record.id: each for each in standing}
    new = sorted((each for each in standing if each.record.id not in incident.order), key=_surest)
    found: list[Standing] = []
    for each in [*(by_id[identity] for identity in incident.order if identity in by_id), *new]:
        sure = each.record.confidence
        place = next((at for at, other in enumerate(found) if sure > CLEARLY * other.record.confidence), len(found))
        found.insert(place, each)
    incident.order = [each.record.id for each in found]
    return found


def _surest(standing: Standing) -> tuple[float, str]:
    return -standing.record.confidence, standing.record.id
