from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.offline.band_features import NAMES, of_service
from pipeline.configfile import shipped_config
from pipeline.errors import FileError
from pipeline.offline import train
from pipeline.offline.dataset.labels import LabelledWindow
from pipeline.offline.training.recipe import load_recipe
from pipeline.offline.training.train_band import QUANTILES, band
from pipeline.registry.store import Store
from tests.builders import START
from tests.offline.training.stored import FRAMES, SERVICES, SIGNALS, stored

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
    assert trained.manifest.features.names == tuple(f"{signal}:band" for signal in SIGNALS)
    assert metrics["coverage"] == pytest.approx(QUANTILES["upper"] - QUANTILES["lower"], abs=0.04)
    assert metrics["pinball"] < metrics["pinball_by_hour"]
    assert store.verify("signals-band", trained.version) is None
    files = dict(store.files(f"models/signals-band/{trained.version}"))
    assert json.loads(files["card.json"])["model"]["metrics"] == metrics
    rows = np.zeros((5, len(NAMES)))
    ends = band(store.estimator("signals-band", trained.version), rows)
    assert ends.shape == (5, 3)
    assert (np.diff(ends, axis=1) >= 0).all()
    assert train(dataset, RECIPE, store).version == trained.version


def test_nothing_normal_to_learn_from(tmp_path: Path) -> None:
    """All of it labelled as trouble: which part has too little, and what to do."""
    windows = [LabelledWindow(START, START + FRAMES * MINUTE, one, "", matters=True, source="file") for one in SERVICES]
    with pytest.raises(FileError, match=r"only 0 normal values are left .*export a longer range"):
        train(stored(tmp_path / "data"), RECIPE, Store(str(tmp_path / "registry")), windows=windows)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), cut=st.integers(1, 400))
def test_a_value_is_predicted_from_what_came_before_it(seed: int, cut: int) -> None:
    """What comes later changes no feature; nor does the value itself."""
    rng = np.random.default_rng(seed)
    values = rng.normal(10, 1, size=(400, 2))
    values[rng.random(values.shape) < 0.1] = np.nan
    start = START + np.arange(400) * 10 * MINUTE
    _, whole = of_service(values, start, 10 * MINUTE)
    changed = values.copy()
    changed[cut - 1 :] = 1e6
    _, part = of_service(changed, start, 10 * MINUTE)
    assert np.array_equal(part[:cut], whole[:cut], equal_nan=True)


def test_the_past_is_in_the_present_scale() -> None:
    """The value a day ago, as far from the running mean of now as the value to predict would be if it were the same."""
    start = START + np.arange(3 * 144) * 10 * MINUTE
    values = np.sin(2 * np.pi * np.arange(len(start)) / 144)[:, None] + 5
    what, from_what = of_service(values, start, 10 * MINUTE)
    a_day_ago = from_what[:, 0, NAMES.index("a_day_ago")]
    assert np.isnan(a_day_ago[:144]).all()
    assert np.allclose(a_day_ago[144:], what[144:, 0])
