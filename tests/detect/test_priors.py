"""Live priors in detect: from which frame on a new service is judged, and that nothing else changes."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor

from models.offline import priors
from models.online import warmth
from pipeline.errors import ModelError
from pipeline.records import ModelMove, cloudevent_headers, to_ms
from pipeline.registry import artefact, package
from pipeline.registry.admission import Terms, admit
from pipeline.registry.manifest import FeatureSchema, ModelManifest
from pipeline.registry.store import Store
from pipeline.stage import LogRecord, Topic
from tests.builders import START
from tests.detect.drive import Service, detect_stage, log, records
from tests.registry.trained import trained

if TYPE_CHECKING:
    from pathlib import Path

NAME = "signal-priors"
SIGNAL = "container.memory.bytes"


@cache
def made(factor: float = 1.0) -> tuple[ModelManifest, bytes]:
    """Priors of memory: values lie a hundredth of their level apart."""
    spread, table = 0.01, np.zeros((3, len(warmth.STATISTICS)))
    usual = {"relative": 1.0, "below": 5 * spread, "above": 5 * spread, "spread": spread, "slow_spread": spread}
    for name, value in {**usual, "rest_spread": spread, "spike_usual": 3.0, "spike_varies": 0.3, "moves": 1.0}.items():
        table[:, warmth.STATISTICS.index(name)] = value
    estimator = DummyRegressor(strategy="median").fit(np.zeros((3, 1)), table)
    estimator.constant_ *= factor
    data = artefact.dump({SIGNAL: estimator})
    manifest, _ = trained(
        name=NAME,
        kind="priors",
        features=FeatureSchema(version=priors.VERSION, names=priors.names_of((SIGNAL,))),
        reference=None,
        threshold=None,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
    )
    return manifest, data


def moved(number: int, *, live: bool = True) -> list[LogRecord]:
    """The priors and the move that makes them live, or takes them away."""
    manifest, _ = one = made()
    move = ModelMove(
        id=f"m{number}",
        at=datetime(2026, 1, number, tzinfo=UTC),
        model=NAME,
        number=number,
        action="promote" if live else "revert",
        live=manifest.version if live else None,
    )
    headers = cloudevent_headers(move.event_type(), "/control", move.id, to_ms(move.at))
    said = LogRecord("duri.samples", 0, 0, START, None, move.model_dump_json().encode(), headers)
    parts = package.parts(NAME, manifest.version, package.pack(*one)) if live else []
    return [*(LogRecord("duri.samples", 0, 0, START, None, part.content, part.headers()) for part in parts), said]


def hour(name: str = "duri_core", start: int = START) -> list[LogRecord]:
    return log(Service(name, start).rows(3600))


def frames(outputs: list[Any], signal: str = SIGNAL) -> list[bool]:
    """Of each frame in turn, whether something was expected of the signal."""
    return [one["signals"][signal].get("expected") is not None for one in records(outputs, Topic.FRAMES)]


def test_a_new_service_is_judged_soon() -> None:
    """Its signals with priors after ten frames, others after half an hour as ever."""
    stage = detect_stage()
    outputs = stage.step([*moved(1), *hour()])
    warm, cold = frames(outputs), frames(outputs, "http.rps")
    assert warm.index(True) == warmth.OWN_SAMPLES
    assert cold.index(True) >= 30
    assert stage.statistics()["warm_starts_total"] == 1


def test_what_is_known_already_stays_as_it_is() -> None:
    """Priors that come when a series has learned more than ten samples change no byte of what is said of it."""
    history = hour()
    with_priors = detect_stage().step([*history[:60], *moved(1), *history[60:]])
    without = detect_stage().step(history)
    assert records(with_priors, Topic.FRAMES) == records(without, Topic.FRAMES)


def test_after_a_revert_new_series_start_cold() -> None:
    """The move holds from its own offset on."""
    stage = detect_stage()
    stage.step([*moved(1), *moved(2, live=False)])
    assert frames(stage.step(hour())).index(True) >= 30
    assert stage.statistics()["warm_starts_total"] == 0


def test_a_snapshot_before_the_start_changes_nothing() -> None:
    """Taken while the series is still learning its level, and read by another stage."""
    history = [*moved(1), *hour()]
    one, other = detect_stage(), detect_stage()
    one.step(history[:20])
    other.restore(one.snapshot())
    rest = one.step(history[20:])
    assert True in frames(rest)[:12]
    assert [out.value for out in other.step(history[20:])] == [out.value for out in rest]


def test_priors_may_run(tmp_path: Path) -> None:
    """They are handed out like a detector; not of another version, of unknown signals, or without finite numbers."""
    store, terms = Store(str(tmp_path)), Terms(signals=(SIGNAL,), budget_ms=1000.0, max_bytes=1 << 20)
    manifest, data = made()
    assert package.unpack(admit(store, NAME, store.add(manifest, data), terms), "test")[0] == manifest
    other = manifest.model_copy(update={"features": manifest.features.model_copy(update={"version": 9})})
    with pytest.raises(ModelError, match=r"priors are of version 9.*train them again"):
        admit(store, NAME, store.add(other, data), terms)
    with pytest.raises(ModelError, match=r"which signals\.yaml does not have"):
        admit(store, NAME, manifest.version, Terms((), 1000.0, 1 << 20))
    manifest, data = made(float("nan"))
    with pytest.raises(ModelError, match="priors are not finite"):
        admit(store, NAME, store.add(manifest, data), terms)
