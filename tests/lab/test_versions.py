"""Versions of a service: a deploy, and going back to the one before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lab.system import Lab

if TYPE_CHECKING:
    import pytest


def test_going_back_twice_is_the_newest_version_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with `kubectl rollout undo`."""
    ran: list[dict[str, str]] = []

    async def turn(_: Lab, service: str, replica: int | None = None, **knobs: str) -> None:
        assert (service, replica) == ("duri_core", None)
        ran.append(knobs)

    async def story() -> None:
        lab = Lab()
        lab.versions = {"duri_core": [FIRST, FIRST]}
        await lab.deploy("duri_core", VERSION_DELAY_S="0.15")
        await lab.roll_back("duri_core")
        await lab.roll_back("duri_core")

    monkeypatch.setattr(Lab, "turn", turn)
    asyncio.run(story())
    assert ran == [{**FIRST, "VERSION_DELAY_S": "0.15"}, FIRST, {**FIRST, "VERSION_DELAY_S": "0.15"}]


FIRST = {"VERSION_DELAY_S": "0", "VERSION_ERRORS": "0"}
