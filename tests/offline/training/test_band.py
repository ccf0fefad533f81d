from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.offline.band_features import NAMES
from pipeline.configfile import shipped_config
from pipeline.errors import FileError
from pipeline.offline import train
from pipeline.offline.dataset.labels import LabelledWindow
from pipeline.offline.training.banded import Material, banded
from pipeline.offline.training.evaluating import Scorer
from pipeline.offline.training.recipe import load_recipe
from pipeline.offline.training.registered import Question, evaluate
from pipeline.offline.training.sought import Sought, Source
from pipeline.offline.training.train_band import QUANTILES, band
from pipeline.registry.pointers import PointerLog
from pipeline.registry.store import Store
from tests.builders import START
from tests.offline.training.stored import FRAMES, SERVICES, SIGNALS, stored
from tests.registry.test_pointers import ADA
from tests.registry.trained import GOOD

if TYPE_CHECKING:
    from pathlib import Path

MINUTE = 60_000
RECIPE = load_recipe("band", shipped_config()).model_copy(
    update={"search": {}, "parameters": {"max_iter": 40, "early_stopping": False}}
)


def test_a_band_holds_what_is_usual(tmp_path: Path) -> None:
    """Its coverage is near what the quantiles say, and it is better than the quantiles of each hour; the same again.

    The file holds scikit-learn's own types only, and gives the three ends in order.
    """
    store = Store(str(tmp_path / "registry"))
    dataset = stored(tmp_path / "data")
    trained = train(dataset, RECIPE, store)
    metrics = trained.manifest.metrics
    assert trained.manifest.kind == "band"
    assert trained.manifest.threshold is not None
    assert trained.manifest.threshold > 0
    assert trained.manifest.features.names == tuple(f"{signal}:band" for signal in SIGNALS)
    assert trained.manifest.reference is not None
    assert [sum(row) for row in trained.manifest.usual] == pytest.approx([1.0] * len(SIGNALS), abs=1e-4)
    assert metrics["features_moved"] == 0.0
    assert metrics["coverage"] == pytest.approx(QUANTILES["upper"] - QUANTILES["lower"], abs=0.04)
    assert metrics["pinball"] < metrics["pinball_by_hour"]
    assert store.verify("signals-band", trained.version) is None
    files = dict(store.files(f"models/signals-band/{trained.version}"))
    assert json.loads(files["card.json"])["model"]["metrics"] == metrics
    assert set(GOOD) - {"f1_over_live_low"} <= metrics.keys()
    assert "## The band itself" in files["card.md"].decode()
    rows = np.zeros((5, len(NAMES)))
    ends = band(store.estimator("signals-band", trained.version), rows)
    assert ends.shape == (5, 3)
    assert (np.diff(ends, axis=1) >= 0).all()
    assert train(dataset, RECIPE, store).version == trained.version
    # By itself beside itself once it is live, and evaluated later on the same time: the same figures.
    PointerLog(store, "signals-band").promote(trained.version, ADA)
    again = train(dataset, RECIPE, store).manifest.metrics
    assert again["f1_over_live_low"] == 0.0
    assert {name: again[name] for name in metrics} == metrics
    evaluated = evaluate(dataset, store, Question("signals-band", trained.version)).metrics
    assert 0 <= evaluated["f1"] <= 1
    assert evaluated["f1_over_live_low"] == 0.0


def test_nothing_normal_to_learn_from(tmp_path: Path) -> None:
    """All of it labelled as trouble: which part has too little, and what to do."""
    windows = [LabelledWindow(START, START + FRAMES * MINUTE, one, "", matters=True, source="file") for one in SERVICES]
    with pytest.raises(FileError, match=r"only 0 normal values are left .*export a longer range"):
        train(stored(tmp_path / "data"), RECIPE, Store(str(tmp_path / "registry")), windows=windows)


class Yesterday:
    """One end of a band: what was a day ago, and so much beside it."""

    def __init__(self, beside: float) -> None:
        self.beside = beside

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.nan_to_num(rows[:, NAMES.index("a_day_ago")]) + self.beside


class Ends:
    """Such a band as one estimator."""

    def __init__(self) -> None:
        self.estimators_ = [Yesterday(beside) for beside in (-1.0, 0.0, 1.0)]


def test_an_anomaly_put_in_is_not_what_the_next_day_expects(tmp_path: Path) -> None:
    """A day later scores are what they are without it, but for the memory of half a week."""
    dataset = stored(tmp_path / "data", daily=True)
    material = Material(dataset, SIGNALS, 5, 0, Sought(Source.INJECTED))
    blocks, _ = banded(material, {"new": Scorer(Ends(), 1.0)}, dataset.span)
    [block] = list(blocks)
    again = np.roll(block.injected, 1440, axis=0) & ~block.injected & ~block.aftermath
    again[:1440] = False
    assert again.sum() > 60
    assert np.abs(block.dirty - block.clean)[again].max() < 0.1
