"""Handing models out: what comes into every partition's log, and what is refused instead."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression
from sklearn.multioutput import MultiOutputRegressor

from models.offline.features import VERSION, names_of
from pipeline.ingest.control import ControlStage
from pipeline.records import ModelMove, cloudevent_headers, to_ms
from pipeline.registry import artefact, package
from pipeline.registry.admission import Terms
from pipeline.registry.courier import RegistryCourier
from pipeline.registry.manifest import FeatureSchema
from pipeline.registry.pointers import PointerLog, control_record
from pipeline.registry.store import Store
from pipeline.stage import LogRecord, Output, Topic
from tests.registry.test_pointers import ADA
from tests.registry.trained import SIGNALS, band, detector, scrambled, write_by_hand

if TYPE_CHECKING:
    from pathlib import Path

TERMS = Terms(signals=frozenset(SIGNALS), budget_ms=1000.0, max_bytes=1 << 20)


def stage(store: Store, terms: Terms = TERMS) -> ControlStage:
    return ControlStage(samples_partitions=2, frames_partitions=1, courier=RegistryCourier(store.location, terms))


def said(move: ModelMove) -> LogRecord:
    headers = cloudevent_headers(move.event_type(), "/duri/models", move.id, to_ms(move.at))
    return LogRecord("duri.control", 0, 0, to_ms(move.at), None, move.model_dump_json().encode(), headers)


def answer(outputs: list[Output]) -> dict[str, Any]:
    [one] = [json.loads(output.value) for output in outputs if output.topic is Topic.CONTROL]
    return one


def test_a_move_comes_behind_its_models_to_every_partition(tmp_path: Path) -> None:
    """Live and shadow, packed, in pieces; then the move; nothing of it goes anywhere else."""
    store = Store(str(tmp_path))
    live, shadow = (store.add(*detector(seed)) for seed in (1, 2))
    log = PointerLog(store, "services")
    log.promote(live, ADA)
    move = control_record(log.shadow(shadow, ADA))
    outputs = stage(store).step([said(move)])
    assert answer(outputs)["accepted"]
    for partition in (0, 1):
        mine = [one for one in outputs if one.topic is Topic.SAMPLES and one.partition == partition]
        pieces, last = mine[:-1], mine[-1]
        assert ModelMove.model_validate_json(last.value) == move
        for version in (live, shadow):
            subject = f"services/{version}".encode()
            packed = b"".join(one.value for one in pieces if dict(one.headers)["ce_subject"] == subject)
            assert package.unpack(packed, "test")[0].version == version
    assert {one.topic for one in outputs} == {Topic.SAMPLES, Topic.CONTROL}


@pytest.mark.parametrize(
    ("changes", "terms", "reason"),
    [
        ({}, TERMS, ""),
        ({"threshold": None}, TERMS, "has no alarm threshold"),
        ({}, Terms(TERMS.signals, 0.001, 1 << 20), "for the bands of 1,000 services, models.budget_ms allows 0.001"),
        ({"kind": "detector"}, TERMS, "its features are not those that this program makes of signals"),
    ],
    ids=["good", "threshold", "slow", "detector"],
)
def test_a_band_is_handed_out_on_the_same_terms(
    tmp_path: Path, changes: dict[str, Any], terms: Terms, reason: str
) -> None:
    """A band that says it is a detector is none."""
    store = Store(str(tmp_path))
    version = store.add(*band(**changes))
    move = control_record(PointerLog(store, "services").promote(version, ADA))
    said_of_it = answer(stage(store, terms).step([said(move)]))
    assert said_of_it["accepted"] == (not reason)
    assert reason in said_of_it["reason"]


@pytest.mark.parametrize("what", ["two ends", "other features"])
def test_what_gives_no_bands_is_not_handed_out(tmp_path: Path, what: str) -> None:
    """Two ends instead of three; regressors of other features."""
    store = Store(str(tmp_path))
    manifest, data = band()
    estimator = artefact.load(data, manifest, "test")
    found = MultiOutputRegressor(estimator.estimator)
    narrow = LinearRegression().fit(np.zeros((2, 9)), np.zeros(2))
    found.estimators_ = estimator.estimators_[:2] if what == "two ends" else [narrow] * 3
    data = artefact.dump(found)
    version = store.add(*band(sha256=hashlib.sha256(data).hexdigest(), size=len(data))[:1], data)
    move = control_record(PointerLog(store, "services").promote(version, ADA))
    assert "train it again" in answer(stage(store).step([said(move)]))["reason"]


def other_features(*names: str) -> FeatureSchema:
    return FeatureSchema(version=VERSION, names=names)


def fitted_by_name(*names: str) -> dict[str, Any]:
    """What changes where the estimator was fitted on a table with these columns."""
    rows = np.random.default_rng(0).normal(size=(64, len(names)))
    data = artefact.dump(PCA(1).fit(pd.DataFrame(rows, columns=list(names))))
    return {"data": data, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "reference": None}


def refused_models() -> list[tuple[str, dict[str, Any], Terms, str]]:
    return [
        (
            "kind",
            {"kind": "oracle"},
            TERMS,
            "is a oracle; detect runs models of the kinds detector, ranker, band,",
        ),
        ("schema", {"features": FeatureSchema(version=9, names=names_of(SIGNALS))}, TERMS, "features of version 9"),
        (
            "names",
            {"features": other_features(*SIGNALS), "reference": None},
            TERMS,
            "not those that this program makes",
        ),
        ("signals", {}, Terms(frozenset({"http.rps"}), 1000, 1 << 20), "expects the signals container.memory.bytes"),
        ("threshold", {"threshold": None}, TERMS, "has no alarm threshold"),
        (
            "width",
            {"features": other_features(*names_of(SIGNALS[:2])), "reference": None},
            TERMS,
            "cannot score 2 features",
        ),
        ("order", fitted_by_name(*reversed(names_of(SIGNALS))), TERMS, "other features, or in another order"),
        ("slow", {}, Terms(TERMS.signals, 0.001, 1 << 20), "models.budget_ms allows 0.001"),
        ("large", {}, Terms(TERMS.signals, 1000, 1000), "models.max_bytes allows 1,000"),
    ]


@pytest.mark.parametrize(("what", "changes", "terms", "reason"), refused_models(), ids=[x[0] for x in refused_models()])
def test_what_may_not_run_is_not_handed_out(
    tmp_path: Path, what: str, changes: dict[str, Any], terms: Terms, reason: str
) -> None:
    """The answer names the version and why; no partition hears of it."""
    store = Store(str(tmp_path))
    manifest, usual = detector(1, **{name: value for name, value in changes.items() if name != "data"})
    version = store.add(manifest, changes.get("data", usual))
    move = control_record(PointerLog(store, "services").promote(version, ADA))
    control = stage(store, terms)
    [only] = outputs = control.step([said(move)])
    assert only.topic is Topic.CONTROL, what
    assert not answer(outputs)["accepted"]
    assert reason in answer(outputs)["reason"]
    assert version in answer(outputs)["reason"]
    assert control.statistics()["models_refused_total"] == 1


def test_features_that_are_taken_in_another_order_are_not_handed_out(tmp_path: Path) -> None:
    """The names are right, and the file is the manifest's: only what it scores tells."""
    store = Store(str(tmp_path))
    place = tmp_path / "models" / "services"
    manifest, data = scrambled()
    write_by_hand(place / manifest.version, manifest, data)
    move = control_record(PointerLog(store, "services").promote(manifest.version, ADA))
    outputs = stage(store).step([said(move)])
    assert [one.topic for one in outputs] == [Topic.CONTROL]
    assert not answer(outputs)["accepted"]
    assert "it takes its features in another order" in answer(outputs)["reason"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.unlink(), "its model file is missing"),
        (lambda file: file.write_bytes(file.read_bytes()[:-7]), "truncated"),
        (lambda file: file.write_bytes(file.read_bytes()[:-1] + b"!"), "its SHA-256 is not the manifest's: altered"),
        (lambda file: file.with_name("manifest.json").write_text("{"), "cannot be read"),
    ],
    ids=["missing", "truncated", "altered", "manifest"],
)
def test_what_was_damaged_since_is_not_handed_out(tmp_path: Path, damage: Any, reason: str) -> None:
    """A model removed, cut or changed between its promotion and the workers."""
    store = Store(str(tmp_path))
    version = store.add(*detector())
    move = control_record(PointerLog(store, "services").promote(version, ADA))
    damage(tmp_path / "models" / "services" / version / "model.skops")
    outputs = stage(store).step([said(move)])
    assert not answer(outputs)["accepted"]
    assert reason in answer(outputs)["reason"]
    assert [one.topic for one in outputs] == [Topic.CONTROL]


def test_types_outside_the_allow_list_are_not_handed_out(tmp_path: Path) -> None:
    """Somebody registers by hand what this program would not write."""
    from skops import io as skops  # noqa: PLC0415

    class Foreign(IsolationForest):
        """A class of the test's own."""

    Foreign.__module__, Foreign.__qualname__ = "tests.foreign", "Foreign"
    data = skops.dumps(Foreign(n_estimators=2).fit(np.random.default_rng(0).normal(size=(32, 6))))
    manifest, _ = detector(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    place = tmp_path / "models" / "services" / manifest.version
    write_by_hand(place, manifest, data)
    move = ModelMove(
        id="m", at="2026-01-01T00:00:00Z", model="services", number=1, action="promote", live=manifest.version
    )
    outputs = stage(Store(str(tmp_path))).step([said(move)])
    assert "types outside the allow-list" in answer(outputs)["reason"]
    assert artefact.ALLOWED


def test_a_revert_does_not_fail_for_the_shadow(tmp_path: Path) -> None:
    """The version that the move is about decides; another one that is broken is left out."""
    store = Store(str(tmp_path))
    first, second, third = (store.add(*detector(seed)) for seed in (1, 2, 3))
    log = PointerLog(store, "services")
    log.promote(first, ADA)
    log.promote(second, ADA)
    log.shadow(third, ADA)
    (tmp_path / "models" / "services" / third / "model.skops").unlink()
    outputs = stage(store).step([said(control_record(log.revert(ADA)))])
    assert answer(outputs)["accepted"]
    subjects = {dict(one.headers).get("ce_subject") for one in outputs if one.topic is Topic.SAMPLES}
    assert subjects == {None, f"services/{first}".encode()}


def test_a_worker_tells_once_who_runs(tmp_path: Path) -> None:
    """The first idle moment of a worker: moves that never reached it, or were lost with a partition's state."""
    store = Store(str(tmp_path))
    live = store.add(*detector())
    move = PointerLog(store, "services").promote(live, ADA)
    control = stage(store)
    outputs = control.tick(5000)
    moves = [one for one in outputs if dict(one.headers)["ce_type"] == b"duri.model_move.v1"]
    assert [ModelMove.model_validate_json(one.value) for one in moves] == [control_record(move)] * 2
    assert {one.topic for one in outputs} == {Topic.SAMPLES}
    assert not control.tick(10_000)


def test_a_registry_that_nobody_can_read_stops_no_worker(tmp_path: Path) -> None:
    """A place that is no folder: nothing stands, and a move is refused with the place."""
    place = tmp_path / "file"
    place.write_text("no folder")
    control = stage(Store(str(place)))
    assert not control.tick(5000)
    move = ModelMove(id="m", at="2026-01-01T00:00:00Z", model="services", number=1, action="promote", live="0" * 12)
    assert str(place) in answer(control.step([said(move)]))["reason"]


def test_withdraw_and_refuse_move_the_pointers_back(tmp_path: Path) -> None:
    """A shadow taken out; a move that the workers refused, undone as long as it is the last one."""
    store = Store(str(tmp_path))
    first, second = (store.add(*detector(seed)) for seed in (1, 2))
    log = PointerLog(store, "services")
    log.promote(first, ADA)
    log.shadow(second, ADA)
    assert log.withdraw(ADA).pointers.shadow is None
    refused = log.promote(second, ADA)
    undone = log.refuse(refused, ADA)
    assert (undone.pointers.live, undone.pointers.previous, undone.action) == (first, None, "refuse")
