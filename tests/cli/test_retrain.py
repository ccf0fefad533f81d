"""`duri retrain`: run after run, from what flowed to a live model."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.offline.dataset.check import problems
from pipeline.offline.dataset.reading import Dataset
from pipeline.records import RetrainingDue, from_ms
from pipeline.registry.pointers import PointerLog
from pipeline.registry.store import Store
from pipeline.settings import load_settings
from pipeline.stage import Topic
from tests.builders import START
from tests.cli.test_models_live import NAME, publish, tally
from tests.installation import duri
from tests.offline.dataset import flowed
from tests.registry.test_pointers import ADA
from tests.registry.trained import GOOD, band, detector

if TYPE_CHECKING:
    from pathlib import Path

    from tests.offline.dataset.flowed import Flowed

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def past(kafka: str) -> Flowed:
    """Frames of four hours, and all topics."""
    history = flowed.history(flowed.new_prefix(), kafka, hours=4)
    flowed.create(history.settings)
    flowed.publish(history.settings, [one for one in history.outputs if one.topic is Topic.FRAMES])
    return history


@pytest.fixture(scope="module")
def days(kafka: str) -> Flowed:
    """Frames of three days, ten minutes each: enough for bands."""
    history = flowed.history(flowed.new_prefix(), kafka, hours=72, frame_s=600.0)
    flowed.create(history.settings)
    flowed.publish(history.settings, [one for one in history.outputs if one.topic is Topic.FRAMES])
    return history


RECIPES = {
    "detector": {"estimator": "sklearn.decomposition.PCA", "parameters": {"n_components": 2}},
    "band": {"estimator": "sklearn.ensemble.HistGradientBoostingRegressor", "parameters": {"max_iter": 5}},
}
MODELS = {"detector": detector, "band": band}


class Cron:
    """A machine on which the command runs again and again."""

    def __init__(self, past: Flowed, place: Path, kind: str = "detector") -> None:
        self.place, self.kind = place, kind
        self.config, self.recipe, self.data = place / "duri.yaml", place / "recipe.yaml", place / "data"
        kafka, topics = past.settings.kafka, past.settings.topics
        sections = {
            "kafka": {"bootstrap": kafka.bootstrap},
            "topics": {"prefix": topics.prefix, "samples_partitions": 2},
            "detect": {"frame_s": past.settings.detect.frame_s},
            "models": {"registry": str(place / "registry")},
        }
        self.config.write_text(json.dumps(sections))
        self.write_recipe(budget=100.0)
        self.settings = load_settings(self.config)
        self.store = Store(self.settings.models.registry)
        self.log = PointerLog(self.store, NAME)

    def write_recipe(self, budget: float) -> None:
        plain = {
            "name": NAME,
            "kind": self.kind,
            **RECIPES[self.kind],
            "gap_s": 0,
            "false_alarm_budget": budget,
        }
        self.recipe.write_text(json.dumps(plain))

    def run(self, *words: str) -> dict[str, Any]:
        done = self.command("--json", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        paths = ("--data", self.data, "--config", self.config)
        return duri("retrain", self.recipe, *paths, "--wait", "0", *words)


@pytest.fixture
def cron(past: Flowed, tmp_path: Path) -> Cron:
    return Cron(past, tmp_path)


@pytest.fixture(params=RECIPES)
def any_cron(request: pytest.FixtureRequest, tmp_path: Path) -> Cron:
    """One for each kind of model that judges services."""
    past = request.getfixturevalue("days" if request.param == "band" else "past")
    return Cron(past, tmp_path, request.param)


def put_back(cron: Cron, **metrics: float) -> str:
    """In the place of the version that was trained one with these metrics, of the same data and recipe."""
    [trained] = [cron.store.manifest(NAME, one) for one in cron.store.versions(NAME)]
    cron.store.remove(NAME, trained.version)
    return cron.store.add(*MODELS[cron.kind](training=trained.training, metrics={**GOOD, **metrics}))


def test_each_run_goes_on_where_the_last_one_ended(any_cron: Cron) -> None:
    """Train and ask the gate; shadow; wait for a day of it; promote; then nothing, until there is new data."""
    cron = any_cron
    first = cron.run()
    # Some hours, or five rounds of boosting, add nothing to what the learners find, and the gate says so.
    assert (first["outcome"], cron.log.pointers().shadow) == ("refused", None)
    assert any("may be no better than no trained model" in reason for reason in first["reasons"])
    assert cron.store.manifest(NAME, first["version"]).training.dataset == Dataset(cron.data).fingerprint
    # What is tested is what follows.
    version = put_back(cron)
    assert cron.run()["outcome"] == "shadowed"
    assert cron.log.pointers().shadow == version
    waiting = cron.run()
    assert (waiting["outcome"], waiting["version"]) == ("waiting", version)
    assert "24 h are wanted" in waiting["reasons"][0]
    asyncio.run(publish(cron.settings, [tally(version, 0, 24.0)]))
    assert cron.run() == {"model": NAME, "outcome": "promoted", "version": version, "reasons": []}
    assert cron.log.pointers().live == version
    assert cron.run()["outcome"] == "unchanged"
    assert [move.why for move in cron.log.moves()][-2:] == ["duri retrain"] * 2


def test_what_does_badly_in_the_shadow_is_taken_out(cron: Cron) -> None:
    """After its day: the reason is in the log, and the version does not come again."""
    assert cron.run()["outcome"] == "refused"
    version = put_back(cron)
    cron.run()
    asyncio.run(publish(cron.settings, [tally(version, 0, 30.0, shadow_lone=900)]))
    assert cron.run() == {
        "model": NAME,
        "outcome": "unchanged",
        "version": version,
        "reasons": ["no training since, and it has had its time in the shadow"],
    }
    assert "alarms per service-day in the shadow that nobody shared" in cron.log.moves()[-1].why


def test_what_the_gate_is_against_is_not_shadowed(cron: Cron) -> None:
    """Exit status 0, because nothing is broken; the reasons; no second training of the same data."""
    assert cron.run()["outcome"] == "refused"
    version = put_back(cron, f1_over_none_low=-0.2)
    moves = len(cron.log.moves())
    refused = cron.run()
    assert (refused["outcome"], refused["version"]) == ("refused", version)
    assert "may be no better than no trained model" in refused["reasons"][0]
    assert len(cron.log.moves()) == moves
    assert cron.store.versions(NAME) == [version]


def test_somebody_elses_shadow_is_theirs(cron: Cron) -> None:
    """It is neither promoted nor taken out, whatever it does there."""
    version = cron.store.add(*detector())
    cron.log.shadow(version, ADA)
    asyncio.run(publish(cron.settings, [tally(version, 0, 30.0)]))
    waiting = cron.run()
    assert waiting["outcome"] == "waiting"
    assert waiting["reasons"] == [f"{ADA.who} has put it into the shadow; promote or withdraw it with `duri models`"]
    assert not cron.data.exists()


def test_only_where_it_is_due(cron: Cron) -> None:
    """With --if-due a live version stays until detect says that its world has changed."""
    version = cron.store.add(*detector(seed=7))
    cron.log.promote(version, ADA)
    assert cron.run("--if-due")["outcome"] == "not due"
    assert not cron.data.exists()
    due = RetrainingDue(
        id="d", at=from_ms(START), since=from_ms(START), model=NAME, version=version, partition=0, reason="drift"
    )
    asyncio.run(publish(cron.settings, [due]))
    assert cron.run("--if-due")["outcome"] == "refused"


@pytest.mark.slow
@pytest.mark.parametrize("step", ["fitting on", "registered"])
def test_a_run_that_was_killed_is_gone_on_with(cron: Cron, past: Flowed, tmp_path: Path, step: str) -> None:
    """kill -9 while it trains, or when the version is registered and nobody was told: the next run ends as any other.

    One version, the same as on a machine where nothing was killed, and a whole dataset.
    """
    words = ("retrain", cron.recipe, "--data", cron.data, "--config", cron.config, "--wait", "0")
    command = [sys.executable, "-m", "pipeline", *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert any(step in line for line in process.stderr or ())
        process.kill()
    assert process.returncode == -signal.SIGKILL
    done = cron.run()
    assert done["outcome"] == "refused"
    assert cron.store.versions(NAME) == [done["version"]]
    assert not list(problems(cron.data, Dataset(cron.data).manifest))
    (tmp_path / "other").mkdir()
    assert Cron(past, tmp_path / "other").run()["version"] == done["version"]


def test_a_range_too_short_to_train_on(cron: Cron) -> None:
    """One message, exit status 2, no version; the dataset is there for the next run."""
    plain = json.loads(cron.recipe.read_text())
    cron.recipe.write_text(json.dumps({**plain, "gap_s": 40_000}))
    done = cron.command()
    assert done.returncode == 2
    assert "too short for the part" in done.stderr
    assert not cron.store.versions(NAME)
    assert Dataset(cron.data).span.end
