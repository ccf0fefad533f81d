from __future__ import annotations

import json
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import pytest

from models.offline.injected import AFTERMATH_MS, aftermath, inject
from pipeline.detect.detectors.thresholds import StaticRule
from pipeline.errors import FileError
from pipeline.offline import Dataset, Question, evaluate, train
from pipeline.offline.dataset.labels import LabelledWindow
from pipeline.offline.training.blocks import Blocks, Learners
from pipeline.offline.training.evaluating import JudgedEvent, Scorer, lead
from pipeline.offline.training.evaluating import evaluate as judge
from pipeline.offline.training.recipe import Recipe
from pipeline.offline.training.sought import Event, Sought, Source, sought
from pipeline.records import from_ms
from pipeline.registry.pointers import Author, PointerLog
from pipeline.registry.store import Store
from tests.builders import START
from tests.installation import duri, full_disk
from tests.offline.training.stored import FRAMES, SERVICES, SIGNALS, stored

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.offline.training.train import Trained

HOUR = 3_600_000
END = START + FRAMES * 60_000
RECIPE = Recipe.model_validate(
    {"name": "services", "estimator": "sklearn.decomposition.PCA", "parameters": {"n_components": 2}, "injected": 9}
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    deploys = [
        {
            "timestamp": END - ago * HOUR,
            "id": str(ago),
            "service": "shop",
            "change": "deploy",
            "version": "",
            "record": "",
        }
        for ago in (60, 5, 2)
    ]
    return stored(tmp_path_factory.mktemp("frames") / "data", changes=deploys)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(str(tmp_path_factory.mktemp("registry")))


@pytest.fixture(scope="module")
def trained(dataset: Dataset, store: Store) -> Trained:
    return train(dataset, RECIPE, store)


def test_what_is_put_in_is_told_in_full() -> None:
    """Each anomaly's frames, signals, kind and size are where the values differ, and nowhere else."""
    values = np.random.default_rng(0).normal(size=(2000, 2, 4))
    found = inject(values, 12, np.random.default_rng(1))
    assert {(one.kind, one.size) for one in found.anomalies} == {
        (kind, size) for kind in ("spike", "apart", "shift", "trend") for size in (2.0, 4.0, 8.0)
    }
    differs = np.zeros(values.shape, dtype=bool)
    for one in found.anomalies:
        differs[one.first : one.after, one.service, list(one.signals)] = True
    assert np.array_equal(found.values != values, differs)


def test_anomalies_begin_when_the_one_before_is_forgotten() -> None:
    """However many are asked for; no aftermath reaches into the next."""
    values = np.random.default_rng(0).normal(size=(2000, 2, 4))
    found = inject(values, 100, np.random.default_rng(1), 70)
    assert len(found.anomalies) == 2 * (2000 // 140)
    for one, other in zip(found.anomalies, found.anomalies[1:], strict=False):
        assert other.service != one.service or other.first - one.after >= 70
    after = aftermath(found.labels, 70)
    assert not (after & found.labels).any()
    assert 70 * 13 < after[:, 0].sum() <= 70 * 14  # the last one ends near the end


def test_any_few_in_a_row_are_of_all_kinds_and_sizes() -> None:
    """The part of the time that evaluates has them all, wherever it lies: else chance would choose how hard it is."""
    found = inject(np.random.default_rng(0).normal(size=(6000, 1, 4)), 30, np.random.default_rng(1))
    for first in range(0, 26, 4):
        some = found.anomalies[first : first + 4]
        assert len({one.kind for one in some}) == 4
        assert len({one.size for one in some}) == 3


class At:
    """Alarms in these frames of every service."""

    def __init__(self, at: np.ndarray) -> None:
        self.at = at

    def score_samples(self, features: np.ndarray) -> np.ndarray:
        score = np.zeros(len(features))
        score[self.at - FRAMES] = -1.0  # from the end: rows that are warming up are not asked for
        return score


def test_an_alarm_after_an_anomaly_put_in_is_not_counted(dataset: Dataset) -> None:
    """Within the aftermath it is excused, a frame later it is false; after real trouble none is excused."""
    block = next(Blocks(dataset, SIGNALS, 3, 0).read(Learners()))
    minutes = AFTERMATH_MS // 60_000
    after = block.sought[0].after
    for at, (wrong, excused) in ((after + minutes - 1, (0, 1)), (after + minutes, (1, 0))):
        scorer = Scorer(At(np.array([at])), 0.5)
        found = judge([block], dataset.span, {"new": scorer}, Source.INJECTED)
        cart = found.by_service["cart"]
        assert (cart["new"].episodes - cart["none"].episodes, cart["new"].excused - cart["none"].excused) == (
            wrong,
            excused,
        )
    window = LabelledWindow(END - 6 * HOUR, END - 5 * HOUR, "shop", "cpu", True, "csv")
    labelled = next(Blocks(dataset, SIGNALS, 3, 0, sought(dataset, dataset.span, windows=[window])).read(Learners()))
    assert not labelled.aftermath.any()


def test_the_card_of_a_version_beside_the_live_one(dataset: Dataset, store: Store, trained: Trained) -> None:
    """Itself live, it differs in nothing from the live one; the card has the curve, plots, and the time left for it."""
    PointerLog(store, "services").promote(trained.version, Author(who="test", when=from_ms(END)))
    found = evaluate(dataset, store, Question("services", trained.version))
    card = json.loads(found.card["card.json"])
    assert card["f1_differences"]["live"]["difference"] == 0.0
    assert card["counts"]["live"] == card["counts"]["new"]
    assert card["events"] == "injected"
    assert card["spans"]["evaluate"].endswith(f"{from_ms(END - 60_000):%Y-%m-%d %H:%M}")
    for name in ("curve.png", "found.png"):
        assert found.card[name].startswith(b"\x89PNG")
        assert f"({name})" in found.card["card.md"].decode()
    recalls = [point["recall"] for point in sorted(card["curves"]["new"], key=lambda one: -one["threshold"])]
    assert recalls == sorted(recalls)
    assert trained.manifest.threshold in [point["threshold"] for point in card["curves"]["new"]]
    assert recalls[-1] > 0.7
    assert "within 70 minutes after an anomaly that was put in" in found.card["card.md"].decode()
    assert "excused" in card["counts"]["new"]
    assert len(card["by_kind"]) == 6
    assert 10 <= sum(group["events"] for group in card["by_kind"]) <= 14  # of 18, as many as are far enough apart
    assert set(card["by_signal"]) == set(SIGNALS)


def test_time_that_it_learned_from_is_refused(dataset: Dataset, store: Store, trained: Trained) -> None:
    """Up to when it has learned, and what to do."""
    with pytest.raises(FileError, match=r"has learned from this time up to .* evaluate it on what came after"):
        evaluate(dataset, store, Question("services", trained.version, start=START))


def test_another_dataset_is_judged_whole_after_the_training(store: Store, trained: Trained, tmp_path: Path) -> None:
    """The same days in another dataset lie before the training's end: nothing is left to judge."""
    with pytest.raises(FileError, match="has nothing after what services"):
        evaluate(stored(tmp_path / "data", seed=1), store, Question("services", trained.version))


def test_windows_are_found_by_who_alarms_in_them(dataset: Dataset) -> None:
    """A rule that fires from 10:00 on finds the window there, not the one before, and is a false alarm elsewhere."""
    windows = [
        LabelledWindow(END - 6 * HOUR, END - 5 * HOUR, "shop", "cpu", True, "csv"),
        LabelledWindow(END - 3 * HOUR, END - 2 * HOUR, "shop", "cpu", True, "csv"),
        LabelledWindow(END - 3 * HOUR, END - 2 * HOUR, "cart", "", False, "csv"),
    ]
    seek = sought(dataset, dataset.span, windows=windows)
    assert (seek.source, len(seek.windows)) == (Source.WINDOWS, 2)
    blocks = Blocks(dataset, SIGNALS, 9, 0, seek)
    block = next(blocks.read(Learners()))
    assert [(one.service, one.after - one.first) for one in block.sought] == [(SERVICES.index("shop"), 60)] * 2

    class InTheLastHours:
        def score_samples(self, features: np.ndarray) -> np.ndarray:
            score = np.zeros(len(features))
            score[-180:-150] = -1.0
            return score

    found = judge([block], dataset.span, {"new": Scorer(InTheLastHours(), 0.5)}, seek.source)
    delays = [one.delay_s["new"] for one in found.events]
    assert delays[1] == 0.0
    assert found.curves["new"][-1].recall == 0.5
    assert found.curves["new"][-1].precision == 0.5  # the same frames of the other service are a false alarm


def test_changes_are_events_where_they_are_asked_for(dataset: Dataset, store: Store, trained: Trained) -> None:
    """The half hours after the deploys within the time; without a word they are not: a deploy need not show."""
    found = evaluate(dataset, store, Question("services", trained.version, source=Source.CHANGES))
    card = json.loads(found.card["card.json"])
    assert card["counts"]["new"]["events"] == 2
    assert [group["kind"] for group in card["by_kind"]] == ["deploy"]
    assert sought(dataset, dataset.span).source is Source.INJECTED
    with pytest.raises(FileError, match=r"has nothing to find in .* by answers"):
        sought(dataset, dataset.span, Source.ANSWERS)


def test_answers_about_services_without_frames_are_nothing_to_find(dataset: Dataset) -> None:
    """Where people have answered about others only, anomalies are put in, and not nothing at all is sought."""
    elsewhere = LabelledWindow(END - 3 * HOUR, END - 2 * HOUR, "elsewhere", "", matters=True, source="feedback")
    here = elsewhere._replace(service="shop")
    with patch.object(Dataset, "windows", return_value=[elsewhere]):
        assert sought(dataset, dataset.span).source is Source.INJECTED
    with patch.object(Dataset, "windows", return_value=[elsewhere, here]):
        assert sought(dataset, dataset.span) == Sought(Source.ANSWERS, (here,))
    with pytest.raises(FileError, match=r"has nothing to find in .* by windows"):
        sought(dataset, dataset.span, windows=[elsewhere])


def test_static_rules_fire_as_in_detect(dataset: Dataset) -> None:
    """A rule that must hold for five minutes fires five minutes after the shift; without the signal there is none."""
    cube = dataset.cube(SERVICES, SIGNALS)
    cube.value[:, :, 0] = 0.1
    cube.value[100:200, 0, 0] = 0.9
    rule = StaticRule.model_validate({"signal": "cpu", "above": 0.5, "for": "5m", "severity": "warning"})
    other = rule.model_copy(update={"signal": "elsewhere"})

    class Rigged(Dataset):
        def cube(self, *_: object) -> object:
            return cube

    blocks = Blocks(Rigged(dataset.folder), SIGNALS, 9, 0, Sought(Source.WINDOWS))
    block = next(blocks.read(Learners(rules={"cpu": rule, "other": other})))
    assert np.flatnonzero(block.static[:, 0]).tolist() == list(range(104, 200))
    assert not block.static[:, 1].any()


def test_the_lead_is_over_events_that_both_find() -> None:
    """The median of what both found; what one found alone is counted for itself."""
    event = Event(0, 0, 10, (), "shift")
    delays = [(300.0, 60.0), (120.0, 60.0), (None, 0.0), (60.0, None), (None, None)]
    found = lead([JudgedEvent("shop", event, {"static": static, "new": new}) for static, new in delays], "new")
    assert found == (2, 150.0, 1, 1)


def test_the_command_writes_the_card(dataset: Dataset, store: Store, trained: Trained, tmp_path: Path) -> None:
    """The newest version where none is named, with the shipped rules; a model that is not there is named."""
    where = ("--data", dataset.folder, "--registry", store.location, "--out", tmp_path / "out")
    done = duri("evaluate", "services", *where, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["version"] == trained.version
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"card.md", "card.json", "curve.png", "found.png"}
    done = duri("evaluate", "service", *where)
    assert done.returncode == 1
    assert "has no model 'service'" in done.stderr


def test_a_full_disk_leaves_no_half_card(dataset: Dataset, store: Store, trained: Trained, tmp_path: Path) -> None:
    """One message that names the folder, and nothing in it that was not whole before."""
    assert trained.version
    with full_disk(room=1000):
        done = duri(
            "evaluate", "services", "--data", dataset.folder, "--registry", store.location, "--out", tmp_path / "out"
        )
    assert done.returncode == 2
    assert f"{tmp_path / 'out'}: the card cannot be written" in " ".join(done.stderr.split())
    assert not list((tmp_path / "out").iterdir())
