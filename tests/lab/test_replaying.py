"""A recorded answer goes to the advice of the service that it was given for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from lab import recordings
from lab.ledger import Ledger
from lab.recordings import Story, record, replay
from lab.replaying import judged
from lab.samples import Row

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.records import Feedback

STEP_MS = 5000
INJECTED = 10**12
ROWS = [Row(INJECTED + n * STEP_MS, "duri_core", "db_pool_size", "{}", 10.0) for n in range(-3, 6)]


def choice(identity: str, service: str, *shared_by: str) -> dict[str, Any]:
    """A first choice; incidents of two services have one each."""
    target = {"service": service, "shared_by": list(shared_by)}
    why = {"findings": ["PG_WORK_MEM_SPILL"], "reason": ""}
    said = {"state": "proposed", "created": "2001-09-09T01:46:50Z"}
    return {"id": identity, "rank": 1, "target": target, "why": why, "kind": "postgresql.work_mem", **said}


class Said(Ledger):
    """Stages that have said this from the first scrape after the injection on, and verify what is applied."""

    choices: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, *_: object) -> None:
        super().__init__()

    def take(self, _: list[Row]) -> None:
        self.recommendations = {one["id"]: one for one in self.choices}

    def tell(self, said: Feedback, _: int) -> None:
        self.outcomes.append({"recommendation": said.recommendation, "result": "verified"})


@pytest.mark.parametrize(
    ("service", "choices", "answered"),
    [
        ("duri_core", [choice("a", "duri_brain"), choice("b", "duri_core")], "b"),
        ("duri_core", [choice("a", "duri_brain"), choice("b", "duri_control", "duri_control", "duri_core")], "b"),
        ("", [choice("a", "duri_brain"), choice("b", "duri_core")], "a"),
        ("duri_core", [choice("a", "duri_brain")], None),
    ],
)
def test_the_advice_for_that_service_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str, choices: list[dict[str, Any]], answered: str | None
) -> None:
    """By itself or among those that share the resource; recordings that name none are answered as they come."""
    monkeypatch.setattr(recordings, "Advice", Said)
    monkeypatch.setattr(Said, "choices", choices)
    path = tmp_path / "run.parquet"
    record(path, Story("work-mem", INJECTED, INJECTED + 2 * STEP_MS, service=service), ROWS)
    assert [one["recommendation"] for one in replay(path).outcomes] == ([] if answered is None else [answered])
    found = judged(path)
    assert (found.right, found.as_true) == (True, answered is not None)
