from __future__ import annotations

import json
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.offline.features import names_of, of_cube
from models.offline.injected import inject
from models.offline.scoring import abnormality
from pipeline.configfile import shipped_config
from pipeline.errors import FileError, SettingsError
from pipeline.offline import Dataset, Question, Workers, evaluate, train
from pipeline.offline.backends import Backend
from pipeline.offline.dataset.labels import LabelledWindow
from pipeline.offline.dataset.reading import Selection
from pipeline.offline.dataset.times import Span
from pipeline.offline.training import blocks as blocks_module
from pipeline.offline.training.blocks import Blocks, Learners
from pipeline.offline.training.fitting import Drawn, collect
from pipeline.offline.training.recipe import Recipe, load_recipe
from pipeline.records import from_ms
from pipeline.registry.store import Store
from tests.builders import START
from tests.installation import duri
from tests.offline.training.stored import FRAMES, SERVICES, SIGNALS, stored

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.offline.training.train import Trained

SMALL = {"estimator": "sklearn.decomposition.PCA", "parameters": {"n_components": 2}, "injected": 6}


def recipe(**changes: object) -> Recipe:
    return Recipe.model_validate({"name": "services", **SMALL, **changes})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return stored(tmp_path_factory.mktemp("frames") / "data")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(str(tmp_path_factory.mktemp("registry")))


@pytest.fixture(scope="module")
def trained(dataset: Dataset, store: Store) -> Trained:
    return train(dataset, recipe(search={"n_components": [1, 2]}), store)


def test_a_trained_model_is_registered_with_its_card(dataset: Dataset, store: Store, trained: Trained) -> None:
    """The manifest names data, features and what was chosen; the card holds the same numbers; the model verifies."""
    manifest = store.manifest("services", trained.version)
    assert manifest.training.dataset == dataset.fingerprint
    assert manifest.features.names == names_of(SIGNALS)
    assert manifest.training.recipe["chosen"]["n_components"] in (1, 2)
    assert store.verify("services", trained.version) is None
    card = json.loads(store._fs.cat_file(f"{store._root}/models/services/{trained.version}/card.json"))
    assert card["counts"]["new"]["f1"] == manifest.metrics["f1"]
    assert card["events"] == "injected"
    assert len(card["search"]) == 2


def test_it_finds_what_was_put_in(trained: Trained) -> None:
    """Signals that leave their common course by many deviations: most are found, within the budget of false alarms."""
    metrics = trained.manifest.metrics
    assert metrics["recall"] > 0.5
    assert 6 <= metrics["events"] <= 9  # a fifth of the 2 * 6 * 3 that were put in
    assert metrics["features_moved"] == 0


def test_false_alarms_keep_to_the_budget_they_were_calibrated_to(dataset: Dataset, store: Store) -> None:
    """On the calibration part itself; a larger budget gives a lower threshold."""
    thresholds = [train(dataset, recipe(false_alarm_budget=budget), store).manifest.threshold for budget in (0.5, 20.0)]
    assert thresholds[0] > thresholds[1]


def test_the_same_training_gives_the_same_version(dataset: Dataset, tmp_path: Path) -> None:
    """Data, recipe and seed decide every byte; another seed is another version."""
    forest = recipe(estimator="sklearn.ensemble.IsolationForest", parameters={"n_estimators": 5})
    versions = [
        train(dataset, forest, Store(str(tmp_path / name)), seed=seed).version
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert versions[0] == versions[1] != versions[2]


@pytest.mark.parametrize("backend", [Backend.PROCESSES, Backend.DASK, Backend.RAY])
def test_wherever_candidates_are_tried_the_version_is_the_same(
    dataset: Dataset, trained: Trained, tmp_path: Path, backend: Backend, request: pytest.FixtureRequest
) -> None:
    """In two processes, or on a cluster of two: the same choice, the same scores of all, the same model."""
    address = None if backend is Backend.PROCESSES else request.getfixturevalue(backend.value)
    store = Store(str(tmp_path))
    again = train(
        dataset, recipe(search={"n_components": [1, 2]}), store, workers=Workers(backend, jobs=2, address=address)
    )
    assert again.version == trained.version
    assert again.manifest.metrics == trained.manifest.metrics


def test_the_registered_model_scores_frames_as_in_training(dataset: Dataset, store: Store, trained: Trained) -> None:
    """Frames from the dataset, through the features, into the loaded estimator: each has a score once warm."""
    features = of_cube(dataset.cube(SERVICES, SIGNALS).value)
    score = abnormality(store.estimator("services", trained.version), features[:, 0])
    assert np.isnan(score[:60]).all()
    assert np.isfinite(score[60:]).all()


def test_of_too_many_rows_as_many_are_drawn(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service at a time: no more than the limit, of every hour alike, in order of time, and the same again."""
    monkeypatch.setattr(blocks_module, "_VALUES", len(SIGNALS) * FRAMES)
    blocks = Blocks(dataset, SIGNALS, 0, 0)
    assert [block.services for block in blocks] == [[service] for service in SERVICES]
    everything = collect(blocks, dataset.span, 100_000)
    drawn, again = (collect(blocks, dataset.span, 2000) for _ in range(2))
    assert len(everything.frame) == 2 * (FRAMES - 60)
    assert len(drawn.frame) == 2000
    assert (np.diff(drawn.frame) >= 0).all()
    assert np.array_equal(drawn.clean, again.clean)
    hours = np.bincount((drawn.frame - 60) // 600, minlength=7)[:7]
    assert hours.min() > 0.7 * hours.mean()
    rows = {row.tobytes() for row in everything.clean}
    assert all(row.tobytes() in rows for row in drawn.clean)


def test_what_makes_one_block_is_read_once(dataset: Dataset) -> None:
    """Fit, threshold and evaluation see the same block; its features are those of its frames alone, either way."""
    with patch.object(Dataset, "cube", autospec=True, side_effect=Dataset.cube) as cube:
        blocks = Blocks(dataset, SIGNALS, 6, 0)
        [first], [second] = blocks, blocks.read(Learners())
        assert cube.call_count == 1
    assert second.clean is first.clean
    assert second.bank is not None
    frames = dataset.cube(SERVICES, SIGNALS).value
    changed = inject(frames, 6, np.random.default_rng([0, 0]))
    assert np.array_equal(first.clean, of_cube(frames), equal_nan=True)
    assert np.array_equal(first.dirty, of_cube(changed.values), equal_nan=True)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 100))
def test_rows_are_drawn_in_their_order_however_they_come(sizes: list[int], limit: int) -> None:
    """Never more than the limit, all where there are fewer, each once, the columns side by side; the same again."""
    rows = np.arange(sum(sizes))
    drawn, again = Drawn(limit), Drawn(limit)
    for part in np.split(rows, np.cumsum(sizes)[:-1]):
        for one in (drawn, again):
            one.add((part, np.stack([part, -part], axis=1)))
            assert len(one) <= limit
    first, second = drawn.columns
    assert len(first) == len(drawn) == min(limit, len(rows))
    assert (np.diff(first) > 0).all()
    assert np.array_equal(second, np.stack([first, -first], axis=1))
    assert np.array_equal(first, again.columns[0])


def test_maintenance_windows_leave_nothing_to_learn_from(tmp_path: Path) -> None:
    """All services under maintenance all the time: which part has too little, and what to do; nothing is registered."""
    window = {
        "timestamp": START,
        "id": "m",
        "start": START,
        "end": START + FRAMES * 60_000,
        "services": [],
        "record": "",
    }
    dataset = stored(tmp_path / "data", maintenance=[window])
    with pytest.raises(FileError, match=r"only 0 frames of normal data are left .*export a longer range"):
        train(dataset, recipe(), Store(str(tmp_path / "registry")))
    assert Store(str(tmp_path / "registry")).names() == []


def test_labelled_windows_leave_nothing_to_learn_from(dataset: Dataset, tmp_path: Path) -> None:
    """Trouble that a file tells of is not normal in any part, wherever the evaluation looks for it."""
    whole = (START, START + FRAMES * 60_000)
    windows = [LabelledWindow(*whole, service, "", matters=True, source="file") for service in SERVICES]
    with pytest.raises(FileError, match=r"only 0 frames of normal data are left"):
        train(dataset, recipe(), Store(str(tmp_path / "registry")), windows=windows)


def test_a_dataset_without_frames(tmp_path: Path) -> None:
    """Samples alone do not do: the message says what writes frames."""
    (tmp_path / "a.csv").write_text(f"timestamp,value\n{START},1\n{START + 86_400_000},2\n", encoding="utf-8")
    assert duri("dataset", "from-csv", tmp_path / "a.csv", "--out", tmp_path / "data").returncode == 0
    done = duri("train", "pca", "--data", tmp_path / "data", "--registry", tmp_path / "registry")
    assert done.returncode == 2
    assert "has no frames to train on" in done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("estimator: sklearn.ensemble.NoForest", "there is no estimator 'sklearn.ensemble.NoForest'"),
        ("estimator: os.system", "estimator: String should match pattern"),
        ("estimator: sklearn.linear_model.LinearRegression", "it has no score_samples"),
        ("estimator: sklearn.decomposition.PCA\nkind: ranker", "it has no predict_proba"),
        ("estimator: nowhere.py:make", "gives no estimator (FileNotFoundError"),
        (
            "estimator: sklearn.decomposition.PCA\nparameters: {n_component: 2}",
            "no parameter 'n_component'; did you mean",
        ),
        ("estimator: sklearn.decomposition.PCA\nfit_shar: 0.5", "recipe.yaml:3: fit_shar"),
    ],
)
def test_a_recipe_that_cannot_be(dataset: Dataset, tmp_path: Path, text: str, says: str) -> None:
    """Exit status 2 with what is wrong in it; nothing is registered."""
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: services\n{text}\n", encoding="utf-8")
    done = duri("train", path, "--data", dataset.folder, "--registry", tmp_path / "registry")
    assert done.returncode == 2
    assert says in done.stderr
    assert not (tmp_path / "registry").exists()


def test_shipped_recipes_are_found_by_name() -> None:
    """Every one can be made into estimators; a wrong name is answered with those there are."""
    for name in ("band", "isolation_forest", "pca", "priors", "ranker"):
        assert list(load_recipe(name, shipped_config()).candidates(0))
    with pytest.raises(
        SettingsError, match="no recipe is called 'forest'; there are band, isolation_forest, pca, priors, ranker"
    ):
        load_recipe("forest", shipped_config())


def test_the_command_says_what_the_gate_has_against_it(dataset: Dataset, tmp_path: Path) -> None:
    """It registers, names the card, and tells that the shadow is missing."""
    done = duri("train", "pca", "--data", dataset.folder, "--registry", tmp_path / "registry", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert any("in the shadow" in reason for reason in told["gate"])
    assert told["card"].endswith("card.md")
    assert Store(str(tmp_path / "registry")).versions("services-pca") == [told["version"]]


def test_a_python_function_is_a_recipe(dataset: Dataset, tmp_path: Path) -> None:
    """What it returns is trained like any other: a pipeline, seeded; the manifest says where it came from."""
    path = tmp_path / "mine.py"
    path.write_text(
        "from sklearn.ensemble import IsolationForest\nfrom sklearn.pipeline import make_pipeline\n"
        "from sklearn.preprocessing import StandardScaler\n\n\n"
        "def Scaled_Forest():\n    return make_pipeline(StandardScaler(), IsolationForest(n_estimators=5))\n",
        encoding="utf-8",
    )
    mine = load_recipe(f"{path}:Scaled_Forest", shipped_config())
    versions = [train(dataset, mine, Store(str(tmp_path / name))) for name in ("a", "b")]
    assert versions[0].version == versions[1].version
    assert versions[0].manifest.name == "scaled-forest"
    assert versions[0].manifest.training.recipe["estimator"] == f"{path}:Scaled_Forest"
    assert Store(str(tmp_path / "a")).verify("scaled-forest", versions[0].version) is None


def test_a_training_is_repeated_from_a_folder_that_has_grown(tmp_path: Path) -> None:
    """What came since is left out by --to: the same version; the files it was trained on are listed with the model.

    What came since is what the version is evaluated on.
    """
    (tmp_path / "pca.yaml").write_text(json.dumps({"name": "services", **SMALL}), encoding="utf-8")
    words = ("train", tmp_path / "pca.yaml", "--data", tmp_path / "data", "--backend", "serial", "--json")
    before = stored(tmp_path / "data")
    once = json.loads(duri(*words, "--registry", tmp_path / "a").stdout)
    listed = json.loads((tmp_path / "a" / "models" / "services" / once["version"] / "dataset.json").read_text())
    assert {file["sha256"] for file in listed["files"]} == {file.sha256 for file in before.manifest.files}
    end = from_ms(before.span.end).isoformat()
    stored(tmp_path / "data", seed=1, first=FRAMES, frames=1440)
    again = json.loads(duri(*words, "--registry", tmp_path / "b", "--to", end).stdout)
    grown = json.loads(duri(*words, "--registry", tmp_path / "c").stdout)
    assert again["version"] == once["version"] != grown["version"]
    where = ("--data", tmp_path / "data", "--registry", tmp_path / "a", "--out", tmp_path / "out")
    done = duri("evaluate", "services", once["version"], *where)
    assert done.returncode == 0, done.stderr
    since = json.loads((tmp_path / "out" / "card.json").read_text())["spans"]["evaluate"]
    assert since == str(Span(before.span.end, before.span.end + 86_400_000))


def test_a_part_of_a_dataset_is_all_there_is(tmp_path: Path) -> None:
    """Rows, span and tables of a dataset opened with a start and an end end there, whatever a selection asks for."""
    whole = stored(tmp_path / "data")
    start, end = START + 3600 * 1000, START + 7200 * 1000
    part = Dataset(whole.folder, start, end)
    assert part.span == (start, end)
    assert len(part.frames()) == 60 * len(SERVICES)
    assert len(part.frames(Selection(start=START, end=START + 5400 * 1000))) == 30 * len(SERVICES)
    with pytest.raises(FileError, match="holds no rows"):
        _ = Dataset(whole.folder, end=START).span


def test_a_model_of_some_services_is_trained_on_them_alone(tmp_path: Path) -> None:
    """As if the dataset held no others, with the signals that they have; the manifest says whose model it is."""
    dataset = stored(tmp_path / "data")
    store = Store(str(tmp_path / "registry"))
    made = train(dataset, recipe(services="sh.*", signals=[]), store)
    assert made.manifest.services == "sh.*"
    place = tmp_path / "registry" / "models" / "services" / made.version
    assert set(json.loads((place / "card.json").read_text())["by_service"]) == {"shop"}
    assert "for the services `sh.*` alone" in (place / "card.md").read_text()
    assert train(dataset, recipe(), store).manifest.model_dump().get("services") is None
    found = evaluate(dataset, store, Question("services", made.version))
    assert set(json.loads(found.card["card.json"])["by_service"]) == {"shop"}
    with pytest.raises(FileError, match="no frames of a service that matches 'nobody'"):
        train(dataset, recipe(services="nobody"), store)


def test_services_of_a_recipe_are_checked() -> None:
    """What is no regular expression, and kinds that judge no services."""
    with pytest.raises(ValueError, match="is no regular expression"):
        recipe(services="(")
    with pytest.raises(ValueError, match="is for every service"):
        recipe(services="shop", kind="ranker")
