from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.offline.anomaly_features import NAMES, AnomalyFacts, AnomalyFeatures, of_anomalies
from pipeline.configfile import shipped_config
from pipeline.errors import FileError
from pipeline.offline import Dataset, train
from pipeline.offline.training.ranking import precision_at
from pipeline.offline.training.recipe import load_recipe
from pipeline.registry.store import Store
from tests.builders import START
from tests.offline.training.stored import stored

if TYPE_CHECKING:
    from pathlib import Path

MINUTE, DAY = 60_000, 86_400_000
DAYS = 120
RECIPE = load_recipe("ranker", shipped_config()).model_copy(update={"search": {}, "parameters": {"max_iter": 25}})


def anomaly(number: int, at: int, service: str, signal: str, score: float) -> dict[str, object]:
    """The row of an anomaly that was open for ten minutes."""
    return {
        "timestamp": at, "id": f"a{number}", "state": "opened", "severity": "warning", "service": service,
        "signal": signal, "opened_at": at, "last_at": at + 10 * MINUTE, "score": score, "observed": 8.0,
        "expected": 2.0, "lower": 1.0, "upper": 3.0, "direction": "up", "detectors": ["learned"],
        "record": json.dumps({"shape": "spike"}),
    }  # fmt: skip


def answered_rows() -> dict[str, list[dict[str, object]]]:
    """A backup each night that people reject, and trouble at any time that they confirm; both score alike."""
    rng = np.random.default_rng(0)
    anomalies, advice, feedback = [], [], []
    for day in range(DAYS):
        for what in ("backup", "trouble", "burst"):
            minute = 120 + rng.integers(-20, 20) if what == "backup" else rng.integers(0, 1440)
            if what == "trouble" and day % 2:
                continue
            number, at = len(anomalies), START + day * DAY + int(minute) * MINUTE
            signal = "queue" if what == "burst" else "latency"
            anomalies.append(anomaly(number, at, "shop", signal, float(rng.uniform(0.9, 1.0))))
            advice.append({"timestamp": at, "id": f"r{number}", "anomalies": [f"a{number}"], "record": ""})
            verdict = "applied" if what == "trouble" else "rejected"
            feedback.append(
                {"timestamp": at, "id": f"f{number}", "recommendation": f"r{number}", "verdict": verdict, "record": ""}
            )
    return {"anomalies": anomalies, "recommendations": advice, "feedback": feedback}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return stored(
        tmp_path_factory.mktemp("anomalies") / "data", frames=DAYS * 24, step_ms=60 * MINUTE, **answered_rows()
    )


def test_it_learns_what_people_reject(dataset: Dataset, tmp_path: Path) -> None:
    """Scores tell nothing of what matters; the time of day and the signal do. The manifest and the card say so."""
    store = Store(str(tmp_path / "registry"))
    trained = train(dataset, RECIPE, store)
    assert trained.manifest.kind == "ranker"
    assert trained.manifest.features.names == NAMES
    assert store.verify("anomaly-ranker", trained.version) is None
    metrics = trained.manifest.metrics
    assert metrics["average_precision"] > 1.5 * metrics["average_precision_by_score"]
    files = dict(store.files(f"models/anomaly-ranker/{trained.version}"))
    card = json.loads(files["card.json"])
    assert card["precision_at_recall"][3]["ranker"] > card["precision_at_recall"][3]["score"]
    assert "| 90% |" in files["card.md"].decode()
    assert train(dataset, RECIPE, store).version == trained.version


def test_it_keeps_to_its_budget(dataset: Dataset, tmp_path: Path) -> None:
    """A smaller budget of false alarms gives a higher threshold."""
    store = Store(str(tmp_path / "registry"))
    thresholds = [
        train(dataset, RECIPE.model_copy(update={"false_alarm_budget": budget}), store).manifest.threshold or 0.0
        for budget in (0.02, 0.5)
    ]
    assert thresholds[0] > thresholds[1]


def test_too_few_answers(tmp_path: Path) -> None:
    """How many there are and what to do; nothing is registered."""
    rows = {name: rows[:9] for name, rows in answered_rows().items()}
    dataset = stored(tmp_path / "data", **rows)
    with pytest.raises(FileError, match=r"9 anomalies have an answer, .* answer more recommendations"):
        train(dataset, RECIPE, Store(str(tmp_path / "registry")))
    assert not (tmp_path / "registry").exists()


FACTS = st.builds(
    AnomalyFacts,
    at=st.integers(0, 20 * DAY),
    service=st.sampled_from(["shop", "till"]),
    signal=st.sampled_from(["cpu", "queue", ""]),
    shape=st.sampled_from(["spike", ""]),
    direction=st.sampled_from(["up", "none"]),
    severity=st.sampled_from(["info", "critical"]),
    score=st.floats(0, 1),
    observed=st.floats(allow_nan=True, allow_infinity=False, width=32),
    expected=st.floats(allow_nan=True, allow_infinity=False, width=32),
    lower=st.floats(-10, 0),
    upper=st.floats(0, 10),
    detectors=st.sets(st.sampled_from(["learned", "static"])),
)


@given(st.lists(FACTS, max_size=30), st.integers(0, 30))
def test_an_anomaly_is_judged_by_what_came_before_it(facts: list[AnomalyFacts], cut: int) -> None:
    """One by one gives the very numbers of all at once, and what comes later changes nothing."""
    facts.sort(key=lambda one: one.at)
    whole = of_anomalies(facts)
    running = AnomalyFeatures()
    alone = [running.advance(one) for one in facts[:cut]]
    assert np.array_equal(np.array(alone).reshape(-1, len(NAMES)), whole[:cut], equal_nan=True)


def test_what_came_before_is_counted() -> None:
    """Same signal within a day and a week, at the same time the day before, and others of the service just now."""
    base = AnomalyFacts(0, "shop", "cpu", "", "up", "info", 1.0, 1.0, 1.0, 0.0, 2.0, ())
    days = [base._replace(at=8 * DAY + at) for at in (-7 * DAY, -DAY - 29 * MINUTE, -2 * MINUTE)]
    facts = [*days, base._replace(at=8 * DAY - MINUTE, signal="queue"), base._replace(at=8 * DAY)]
    row = dict(zip(NAMES, of_anomalies(facts)[-1], strict=True))
    counts = {name: row[name] for name in ("same_day", "same_week", "same_time_yesterday", "others_now")}
    assert counts == {"same_day": 1, "same_week": 3, "same_time_yesterday": 1, "others_now": 2}
    assert row["since_same_h"] == pytest.approx(2 / 60)


@pytest.mark.parametrize(
    ("recall", "expected"), [(0.5, 1.0), (0.75, 0.6), (1.0, 0.5)], ids=["half", "ties count", "all"]
)
def test_precision_at_equal_recall(recall: float, expected: float) -> None:
    """Shown from the first on until so many are among them; of equal ranks all are shown."""
    order = np.array([9.0, 8.0, 7.0, 7.0, 7.0, 6.0, 6.0, 5.0])
    matters = np.array([True, True, True, False, False, False, False, True])
    assert precision_at(recall, order, matters) == expected
