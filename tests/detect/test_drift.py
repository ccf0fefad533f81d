"""When detect says that a live model's training is due."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models.offline.band_features import BandFeatures
from models.offline.bands import Bands
from models.offline.features import of_cube
from models.offline.stability import counted, shares
from pipeline.configfile import shipped_config
from pipeline.detect.frame import ClosedFrame
from pipeline.detect.trained.drift import Drift
from pipeline.detect.trained.models import TrainedModels
from pipeline.detect.trained.moves import ModelDesk
from pipeline.detect.trained.seats import scorer_of
from pipeline.records import ModelMove, RetrainingDue
from pipeline.registry import package
from pipeline.registry.artefact import load
from pipeline.signals.definitions import load_definitions
from tests.builders import START
from tests.registry.trained import SIGNALS, band, detector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.registry.manifest import ModelManifest

FRAME_MS = 600_000
DAY = 144
SERVICES = 20
kinds = pytest.mark.parametrize("kind", ["detector", "band"])
DEFINED = load_definitions(shipped_config()).signals


def values(frames: int, seed: int, wild: int | None = None) -> np.ndarray:
    """float64[frames, services, signals]: noise around a level; from the frame `wild` on, bursts every third frame."""
    found = np.random.default_rng(seed).normal(100.0, 1.0, size=(frames, SERVICES, len(SIGNALS)))
    if wild is not None:
        found[wild::3] += 40.0
    return found


def distances(estimator: object) -> np.ndarray:
    """How far values are from the middles of a band's bands, float64[n, signals], while there is nothing but noise."""
    features, bands, found = BandFeatures(SERVICES, len(SIGNALS)), Bands(estimator), []
    for number, frame in enumerate(values(3 * DAY, 1)):
        away = features.advance(frame, START + number * FRAME_MS, FRAME_MS)
        found.append(bands.judge(features, away).cells)
    return np.concatenate(found)


@cache
def model(kind: str) -> tuple[ModelManifest, bytes]:
    """Trained while there was nothing but noise; its threshold is out of reach."""
    if kind == "band":
        usual = shares(counted(distances(load(band()[1], band()[0], "test"))))
        return band(threshold=1e6, usual=usual)
    features = of_cube(values(300, 1)).reshape(-1, len(SIGNALS))
    return detector(threshold=5.0, usual=shares(counted(features)))


def live(one: tuple[ModelManifest, bytes]) -> TrainedModels:
    trained = TrainedModels(DEFINED, FRAME_MS)
    for part in package.parts("services", one[0].version, package.pack(*one)):
        trained.bring(part)
    said = datetime(2026, 1, 1, tzinfo=UTC)
    trained.take(ModelMove(id="m", at=said, model="services", number=1, action="promote", live=one[0].version))
    return trained


def run(trained: TrainedModels, cube: np.ndarray, first: int = 0) -> list[dict[str, Any]]:
    """What is said on `duri.control` while these frames close."""
    desk, found = ModelDesk(trained, partition=3), []
    columns = [list(DEFINED).index(signal) for signal in SIGNALS]
    for number, frame in enumerate(cube, start=first):
        row = np.full((SERVICES, len(DEFINED)), np.nan)
        row[:, columns] = frame
        start = START + number * FRAME_MS
        alive = np.ones(SERVICES, dtype=bool)
        assert not list(trained.judge(ClosedFrame(start, start + FRAME_MS, row, np.isfinite(row), alive, alive)))
        trained.compare(start + FRAME_MS, lambda _: False)
        found += [json.loads(output.value) for output in desk.drifted()]
    return found


@kinds
def test_nothing_is_due_while_the_world_is_as_it_was(kind: str) -> None:
    """Three days of the noise that it was trained on, drawn anew."""
    assert run(live(model(kind)), values(3 * DAY + 1, 2)) == []


@kinds
def test_features_that_have_moved_are_told_once_a_day(kind: str) -> None:
    """Bursts from the second day on: a record at the end of each day, with the version and what has moved."""
    said = run(live(model(kind)), values(3 * DAY + 1, 2, wild=DAY + 1))
    assert len(said) == 2
    record, manifest = RetrainingDue.model_validate(said[0]), model(kind)[0]
    assert (record.version, record.partition) == (manifest.version, 3)
    assert "features have moved since the training" in record.reason
    assert record.moved
    assert set(record.moved) <= set(manifest.features.names)
    assert record.at - record.since == (RetrainingDue.model_validate(said[1]).at - record.at)


@kinds
@pytest.mark.parametrize("cut", [1, DAY - 1, DAY, 2 * DAY - 7])
def test_a_replay_says_the_same(kind: str, cut: int) -> None:
    """Wherever a snapshot is restored."""
    cube, second = values(2 * DAY + 1, 2, wild=DAY + 1), TrainedModels(DEFINED, FRAME_MS)
    first = live(model(kind))
    before = run(first, cube[:cut])
    second.restore(first.snapshot())
    assert [*before, *run(second, cube[cut:], cut)] == run(live(model(kind)), cube)


def test_a_signal_that_few_values_tell_of_has_not_moved() -> None:
    """All are wild; one of three has values in a few frames only."""
    cube = values(2 * DAY + 1, 2, wild=DAY + 1)
    cube[DAY + 8 :, :, 1] = np.nan
    [said] = run(live(model("band")), cube)
    assert "2 of 3 features" in said["reason"]
    assert len(said["moved"]) == 2


@pytest.mark.parametrize("make", [detector, band])
def test_a_version_from_before_shares_were_kept_is_not_watched_by_them(
    make: Callable[..., tuple[ModelManifest, bytes]],
) -> None:
    """Its version is what it was, and its features say nothing."""
    old = make(threshold=1e6)
    assert "usual" not in old[0].model_dump_json()
    assert run(live(old), values(2 * DAY + 1, 2, wild=DAY + 1)) == []


def agreeing(drift: Drift, day: int, shared: bool, alarms: int = 12) -> dict[str, Any] | None:
    """A day with so many alarms, each one frame and far from the next; what is said at its end."""
    said: Sequence[Any] = [None]
    for frame in range(DAY):
        end = START + (day * DAY + frame + 1) * 60_000 * 10
        alarm = np.zeros(SERVICES, dtype=bool)
        alarm[frame % SERVICES] = frame < alarms
        drift.note(np.zeros((SERVICES, len(SIGNALS))), alarm, end, lambda _: shared)
        said = [*said, drift.due()]
    return next((one for one in said if one is not None), None)


@pytest.mark.parametrize(("alarms", "due"), [(12, True), (9, False)])
def test_alarms_that_nobody_shares_any_more_are_told(alarms: int, due: bool) -> None:
    """All shared on the first days, none on the third; few alarms say nothing."""
    packed = package.pack(*detector(threshold=5.0))
    drift = Drift(scorer_of(packed, "test", DEFINED), FRAME_MS)
    drift.grow(SERVICES)
    assert [agreeing(drift, day, shared=True) for day in (0, 1)] == [None, None]
    said = agreeing(drift, 2, shared=False, alarms=alarms)
    assert (said is not None) == due
    if said is not None:
        assert (said["agreement"], said["agreement_before"]) == (0.0, 1.0)
        assert "another detector shared 0% of its alarms in a day, 100% in the days before" in said["reason"]
