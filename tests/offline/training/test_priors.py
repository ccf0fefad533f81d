"""Training priors: from frames to a registered version that the gate can judge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.offline import priors
from models.online import warmth
from pipeline.configfile import shipped_config
from pipeline.errors import FileError
from pipeline.offline import train
from pipeline.offline.dataset.times import Span
from pipeline.offline.training.blocks import Blocks, Learners
from pipeline.offline.training.newcomers import Fleet, known, of_their_own
from pipeline.offline.training.recipe import load_recipe
from pipeline.registry import gate
from pipeline.registry.admission import Terms, admit
from pipeline.registry.pointers import PointerLog
from pipeline.registry.store import Store
from tests.offline.training.stored import SERVICES, SIGNALS, stored
from tests.registry.test_pointers import ADA

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = load_recipe("priors", shipped_config())
FLEET = tuple(f"service-{number}" for number in range(6))


def test_priors_of_a_fleet_are_worth_having(tmp_path: Path) -> None:
    """They know the fleet's days, pass the gate, raise fewer false alarms than cold series do, and are the same again.

    Beside themselves as the live version they pass as well.
    """
    dataset = stored(tmp_path / "data", frames=10 * 1440, services=FLEET, daily=True)
    store = Store(str(tmp_path / "registry"))
    made = train(dataset, RECIPE, store)
    metrics = made.manifest.metrics
    assert made.manifest.kind == "priors"
    assert made.manifest.features.names == tuple(f"{signal}:prior" for signal in SIGNALS)
    assert metrics[gate.FALSE_ALARMS] < metrics[gate.BUDGET] / 2
    assert gate.objections(made.manifest, None, {}, 0.05) == ()
    assert admit(store, RECIPE.name, made.version, Terms(SIGNALS, 100.0, 1 << 20))
    found = priors.table(store.estimator(RECIPE.name, made.version), SIGNALS)
    assert found[:, warmth.STATISTICS.index("relative")].all()
    assert found[:, warmth.STATISTICS.index("seasonal")].all()
    wave = 0.3 * np.sin(2 * np.pi * (np.arange(48) + 0.5) / 48)
    assert np.abs(found[:, warmth.DAY] - wave).max() < 0.05
    files = dict(store.files(f"models/{RECIPE.name}/{made.version}"))
    assert json.loads(files["card.json"])["first_days"]["new"]["f1"] == metrics["f1"]
    assert files["first_days.png"].startswith(b"\x89PNG")
    assert "(first_days.png)" in files["card.md"].decode()
    assert train(dataset, RECIPE, store).version == made.version
    PointerLog(store, RECIPE.name).promote(made.version, ADA)
    again = train(dataset, RECIPE.model_copy(update={"injected": 11}), store).manifest
    assert gate.AGAINST_LIVE in again.metrics
    assert gate.objections(again, made.manifest, {}, 0.05) == ()


def test_what_is_known_does_not_depend_on_the_hour_at_which_it_ends(tmp_path: Path) -> None:
    """Values lie further apart while the day's wave is steep: known series are looked at all through their last day."""
    dataset = stored(tmp_path / "data", frames=5 * 1440, services=FLEET, daily=True)
    fleet = Fleet(Blocks(dataset, SIGNALS, 0, 0), Learners(), 6, 0)
    spreads = []
    for hour in range(0, 24, 4):
        found = known(fleet, Span(dataset.span.start, dataset.span.start + (96 + hour) * 3_600_000))
        alike = [one.statistics[warmth.STATISTICS.index("spread")] / one.level for one in found["rps"]]
        spreads.append(float(np.median(alike)))
    assert max(spreads) < 1.25 * min(spreads)


def test_an_alarm_that_is_there_anyway_finds_nothing() -> None:
    """At an anomaly it does not count; away from anomalies it is a false alarm as ever."""
    labels, dirty, clean = (
        np.array([mark == "x" for mark in marks]) for marks in ("--xx------", "-xxx---x-x", "-xx----x--")
    )
    assert np.flatnonzero(of_their_own(labels, dirty, clean)).tolist() == [3, 7, 9]


def test_parameters_are_searched_where_there_are_several(tmp_path: Path) -> None:
    """The card tells of each what it was worth on the second part."""
    dataset = stored(tmp_path / "data", frames=5 * 1440, services=FLEET)
    recipe = RECIPE.model_copy(update={"search": {"strategy": ["median", "mean"]}})
    store = Store(str(tmp_path / "registry"))
    made = train(dataset, recipe, store)
    files = dict(store.files(f"models/{RECIPE.name}/{made.version}"))
    tried = {one["parameters"]["strategy"]: one["f1"] for one in json.loads(files["card.json"])["search"]}
    assert made.manifest.training.recipe["chosen"]["strategy"] == max(tried, key=tried.__getitem__)
    assert all(0 < value <= 1 for value in tried.values())


def test_a_few_services_are_no_population(tmp_path: Path) -> None:
    """It says how many are needed, and registers nothing."""
    store = Store(str(tmp_path / "registry"))
    with pytest.raises(FileError, match=rf"has {len(SERVICES)} services, 4 are needed"):
        train(stored(tmp_path / "data"), RECIPE, store)
    with pytest.raises(FileError, match="no signal has 3 services with 2 normal days"):
        train(stored(tmp_path / "short", frames=2 * 1440, services=FLEET), RECIPE, store)
    assert list(store.names()) == []
