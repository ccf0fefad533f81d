"""The recommendations that are still in the topic, and the one that a person means by the beginning of its id."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer
from pydantic import ValidationError

from pipeline.records import Recommendation
from pipeline.runtime.bounded import read_all
from pipeline.stage import Topic

if TYPE_CHECKING:
    from pipeline.settings import Settings


async def known(settings: Settings) -> dict[str, Recommendation]:
    """By id the newest record of each; what cannot be read is passed over."""
    found: dict[str, Recommendation] = {}
    async for record in read_all(settings, Topic.RECOMMENDATIONS):
        try:
            read = Recommendation.model_validate(json.loads(record.value or b"null"))
        except (ValueError, ValidationError):
            continue
        found[read.id] = read
    return found


def pick(found: dict[str, Recommendation], prefix: str) -> Recommendation:
    """The recommendation whose id begins so. Raises typer.BadParameter where none or several do."""
    alike = [record for identity, record in found.items() if identity.startswith(prefix)]
    if len(alike) == 1 and prefix:
        return alike[0]
    if not alike:
        raise typer.BadParameter(
            f"no recommendation's id begins with {prefix!r}; `duri watch --from-beginning` shows them",
            param_hint="RECOMMENDATION",
        )
    ids = ", ".join(sorted(record.id for record in alike)[:5])
    raise typer.BadParameter(f"{prefix!r} is the beginning of {len(alike)} ids: {ids}", param_hint="RECOMMENDATION")
