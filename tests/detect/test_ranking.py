"""A live ranker in detect: what it says of an anomaly when it opens, and what is quiet then."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from models.offline import anomaly_features
from models.offline.anomaly_features import NAMES, of_anomalies
from models.offline.scoring import likelihood
from pipeline.advise.frames import Frame, read
from pipeline.advise.symptoms import qualifying
from pipeline.detect.trained.ranking import facts_of
from pipeline.errors import ModelError
from pipeline.offline.dataset.columns import Window
from pipeline.offline.dataset.reading import Dataset
from pipeline.offline.dataset.record_rows import RecordRows
from pipeline.offline.dataset.staging import Request
from pipeline.offline.dataset.writer import adding
from pipeline.offline.training.ranking import facts, first_records
from pipeline.records import Anomaly, ModelMove, cloudevent_headers, to_ms
from pipeline.registry import artefact, package
from pipeline.registry.admission import Terms, admit
from pipeline.registry.manifest import FeatureSchema, ModelManifest
from pipeline.registry.reference import reference_of
from pipeline.registry.store import Store
from pipeline.stage import LogRecord, Topic
from tests.builders import START
from tests.detect.drive import Service, detect_stage, log, records, written
from tests.registry.trained import trained

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "anomaly-ranker"


@cache
def ranker(threshold: float = 0.5) -> tuple[ModelManifest, bytes]:
    """One that has learned that what was in trouble lately does not matter."""
    rng = np.random.default_rng(0)
    rows = rng.uniform(0, 3, size=(300, len(NAMES))).round()
    matters = rows[:, NAMES.index("same_day")] < 1
    estimator = HistGradientBoostingClassifier(max_iter=20, early_stopping=False).fit(rows, matters)
    data = artefact.dump(estimator)
    manifest, _ = trained(
        name=NAME,
        kind="ranker",
        features=FeatureSchema(version=anomaly_features.VERSION, names=NAMES),
        reference=reference_of("ranker", estimator, NAMES, rows),
        threshold=threshold,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
    )
    return manifest, data


def promoted(one: tuple[ModelManifest, bytes], number: int = 1) -> list[LogRecord]:
    """The model and the move that makes it live, as they come in the log."""
    manifest, _ = one
    parts = package.parts(NAME, manifest.version, package.pack(*one))
    move = ModelMove(
        id=f"m{number}",
        at=datetime(2026, 1, number, tzinfo=UTC),
        model=NAME,
        number=number,
        action="promote",
        live=manifest.version,
    )
    headers = cloudevent_headers(move.event_type(), "/control", move.id, to_ms(move.at))
    said = LogRecord("duri.samples", 0, 0, START, None, move.model_dump_json().encode(), headers)
    return [*(LogRecord("duri.samples", 0, 0, START, None, part.content, part.headers()) for part in parts), said]


def trouble() -> list[LogRecord]:
    """Memory far too high, three times within a day."""
    service, found = Service(), []
    for _ in range(3):
        found += log(service.rows(3600))
        found += log(service.rows(900, memory=0.97))
    return found + log(service.rows(3600))


def numbered(history: Sequence[LogRecord]) -> list[LogRecord]:
    return [
        LogRecord(one.topic, 0, at, one.timestamp, one.key, one.value, one.headers) for at, one in enumerate(history)
    ]


def opened(outputs: Sequence[Any]) -> list[Anomaly]:
    every = [Anomaly.model_validate_json(one.value) for one in outputs if one.topic is Topic.ANOMALIES]
    return [one for one in every if one.state == "opened"]


@pytest.fixture(scope="module")
def outputs() -> list[Any]:
    return detect_stage().step(numbered([*promoted(ranker()), *trouble()]))


def test_each_anomaly_says_how_likely_it_matters(outputs: list[Any], tmp_path: Path) -> None:
    """Probability, version, and whether it is quiet: the very numbers of the training code, of the dataset's rows."""
    manifest, data = ranker()
    found = opened(outputs)
    with adding(tmp_path / "data", Request(source="csv")) as writer:
        rows = RecordRows(writer.buckets)
        for one in (one for one in outputs if one.topic is Topic.ANOMALIES):
            rows.add(LogRecord("", 0, 0, one.timestamp, None, one.value, one.headers), Window())
        for taken in rows.take():
            writer.write(taken)
        writer.checkpoint(complete=True)
        writer.publish()
    table = first_records(Dataset(tmp_path / "data"))
    features = of_anomalies(facts(table))
    assert table["id"].tolist() == [one.id for one in found]
    assert np.array_equal(features, of_anomalies([facts_of(one) for one in found]), equal_nan=True)
    expected = likelihood(artefact.load(data, manifest, "here"), features).round(9).tolist()
    assert [one.ranked.probability for one in found if one.ranked] == expected
    assert {one.ranked.version for one in found if one.ranked} == {manifest.version}
    assert [one.ranked.quiet for one in found if one.ranked] == [value < 0.5 for value in expected]
    assert {value < 0.5 for value in expected} == {True, False}


def test_what_is_quiet_is_no_reason_for_advice(outputs: list[Any]) -> None:
    """It stands in its frames and says that it is quiet; critical ones speak whatever the ranker says."""
    quiet = {one.id for one in opened(outputs) if one.ranked and one.ranked.quiet}
    messages = [
        read(LogRecord("duri.frames", 0, at, one.timestamp, one.key, one.value, one.headers))
        for at, one in enumerate(outputs)
        if one.topic is Topic.FRAMES
    ]
    frames = [one for one in messages if isinstance(one, Frame)]
    seen = [anomaly for frame in frames for anomaly in frame.anomalies]
    assert quiet & {one.id for one in seen}
    for one in seen:
        assert one.quiet == (one.id in quiet and one.severity != "critical")
    assert not any(one.quiet for frame in frames for one in qualifying(frame.anomalies))


def test_without_a_ranker_nothing_is_said() -> None:
    """Records are as they were before there were rankers; one that comes later knows what happened before it."""
    history = trouble()
    outputs = detect_stage().step(numbered(history))
    assert all("ranked" not in one for one in records(outputs, Topic.ANOMALIES))
    assert all("quiet" not in one for frame in records(outputs, Topic.FRAMES) for one in frame.get("anomalies", []))
    half = len(history) // 2
    late = opened(detect_stage().step(numbered([*history[:half], *promoted(ranker()), *history[half:]])))
    early = opened(detect_stage().step(numbered([*promoted(ranker()), *history])))
    told = {one.id: one.ranked.probability for one in early if one.ranked}
    ranked = [one for one in late if one.ranked]
    assert 0 < len(ranked) < len(early)
    assert all(one.ranked and one.ranked.probability == told[one.id] for one in ranked)


def test_a_ranker_may_run(tmp_path: Path) -> None:
    """It is handed out like a detector, but for one over other features than this program makes of anomalies."""
    store, terms = Store(str(tmp_path)), Terms(signals=(), budget_ms=1000.0, max_bytes=1 << 20)
    manifest, data = ranker()
    assert package.unpack(admit(store, NAME, store.add(manifest, data), terms), "test")[0] == manifest
    other = manifest.model_copy(update={"features": manifest.features.model_copy(update={"version": 9})})
    with pytest.raises(ModelError, match="other features of anomalies than this program makes"):
        admit(store, NAME, store.add(other, data), terms)


def test_a_snapshot_changes_nothing() -> None:
    """Taken in the middle, and read by another stage: the same records after it, to the byte."""
    history = numbered([*promoted(ranker()), *trouble()])
    half = len(history) // 2
    one, other = detect_stage(), detect_stage()
    one.step(history[:half])
    other.restore(one.snapshot())
    rest = one.step(history[half:])
    assert opened(rest)
    assert [out.value for out in other.step(history[half:])] == [out.value for out in rest]


def much_trouble() -> list[LogRecord]:
    """Five services and their queues, which no signal uses, all in trouble at once, twice; a record has all of them."""
    services, found = [Service(f"service-{number}") for number in range(5)], []
    for seconds, memory, queue in ((3600, 0.5, 10.0), (900, 0.97, 900.0)) * 2:
        for scrapes in zip(*(one.rows(seconds, memory=memory) for one in services), strict=True):
            rows = [row for scrape in scrapes for row in scrape]
            found.append([(one, at, queue if one.name == "queue_depth" else value) for one, at, value in rows])
    return log(found)


def test_all_that_opens_at_once_is_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a frame, and of a record's raw series; what is said is to the bit what each would be told alone."""
    history, asked = numbered([*promoted(ranker()), *much_trouble()]), list[int]()

    def one_by_one(estimator: Any, rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return np.concatenate([likelihood(estimator, row[None]) for row in rows])

    together = detect_stage().step(history)
    monkeypatch.setattr("pipeline.detect.trained.ranking.likelihood", one_by_one)
    alone = detect_stage().step(history)
    assert written(together) == written(alone)
    every = opened(alone)
    assert sum(asked) == len(every)
    assert len(asked) == len({(one.opened_at, one.signal == "queue_depth") for one in every})
    assert {one.signal == "queue_depth" for one in every} == {True, False}
    assert max(asked) >= 5


def test_polls_that_end_elsewhere_ask_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """An estimator may say something else of a row beside others: so who is beside it must not be a matter of polls."""
    history = numbered([*promoted(ranker()), *much_trouble()])
    monkeypatch.setattr(
        "pipeline.detect.trained.ranking.likelihood",
        lambda _, rows: np.full(len(rows), 1 / (1 + len(rows))),
    )
    stage = detect_stage()
    assert written(output for record in history for output in stage.step([record])) == written(
        detect_stage().step(history)
    )


def test_one_that_cannot_be_ranked_is_no_reason_to_say_nothing_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left unranked and counted; those that opened with it are ranked."""
    history, bad = numbered([*promoted(ranker()), *much_trouble()]), anomaly_features.NAMES.index("service")
    [service] = of_anomalies(
        [facts_of(one) for one in opened(detect_stage().step(history)) if one.service == "service-3"][:1]
    )

    def picky(estimator: Any, rows: np.ndarray) -> np.ndarray:
        if (rows[:, bad] == service[bad]).any():
            raise ValueError("not that one")
        return likelihood(estimator, rows)

    monkeypatch.setattr("pipeline.detect.trained.ranking.likelihood", picky)
    stage = detect_stage()
    every = opened(stage.step(history))
    assert {one.service for one in every if one.ranked is None} == {"service-3"}
    assert {one.service for one in every if one.ranked} == {f"service-{number}" for number in (0, 1, 2, 4)}
    unranked = sum(one.ranked is None for one in every)
    assert stage.statistics()['ranker_failures_total{error="ValueError"}'] == unranked
