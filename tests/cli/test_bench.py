from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import pytest

from models.corpora import load_labelled
from models.online.bank import Bank
from models.replay import replay
from pipeline.detect.configuration import load_detection
from pipeline.detect.scoring import score_series
from pipeline.series import Kind, Series
from pipeline.settings import load_settings
from tests.installation import duri

if TYPE_CHECKING:
    from collections.abc import Sequence

CLOUD = sorted((Path(__file__).parents[1] / "data" / "cloud").glob("*.csv"))
START = np.datetime64("2026-01-05T00:00:00")


def rows(values: Sequence[float], labels: Sequence[int] | None = None) -> str:
    """Lines of a series at a sample a minute."""
    lines = []
    for minute, value in enumerate(values):
        cells = [str(START + np.timedelta64(minute, "m")).replace("T", " "), f"{value:.6f}"]
        lines.append(",".join([*cells, *([str(labels[minute])] if labels is not None else [])]))
    return "\n".join(lines) + "\n"


def troubled(seed: int) -> np.ndarray:
    """Three days of noise with a clear shift for an hour on the third."""
    values = np.random.default_rng(seed).normal(100.0, 1.0, 3 * 1440)
    values[3500:3560] += 15.0
    return values


@pytest.fixture
def nab(tmp_path: Path) -> Path:
    """A benchmark of NAB's layout: two categories of one series."""
    folder = tmp_path / "nab"
    windows = {}
    for seed, category in enumerate(("first", "second")):
        (folder / "data" / category).mkdir(parents=True)
        (folder / "data" / category / "a.csv").write_text("timestamp,value\n" + rows(troubled(seed)), encoding="utf-8")
        begin, end = (str(START + np.timedelta64(minute, "m")).replace("T", " ") for minute in (3480, 3600))
        windows[f"{category}/a.csv"] = [[begin, end]]
    (folder / "labels").mkdir()
    (folder / "labels" / "combined_windows.json").write_text(json.dumps(windows), encoding="utf-8")
    return folder


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A folder of two domains: real series, as they are."""
    folder = tmp_path / "labelled"
    for number, path in enumerate(CLOUD):
        domain = folder / f"domain-{number % 2}"
        domain.mkdir(parents=True, exist_ok=True)
        (domain / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def test_nab_as_json(nab: Path) -> None:
    """Profiles of each reading, left-out categories, spread, and events: a clear shift is found in both series."""
    done = duri("bench", "nab", "--data", nab, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(report["profiles"]) == {"raised", "ranked", "scores"}
    assert {"standard", "reward_low_fp", "reward_low_fn"} <= set(report["profiles"]["raised"])
    assert report["events"]["found"] == report["events"]["events"] == 2
    assert set(report["categories"]) == {"first", "second"}
    assert report["spread"]["raised"]["least"] <= report["spread"]["raised"]["greatest"]
    assert set(report["left_out"]) == {"ranked", "scores"}


def test_tables_fit_eighty_columns(nab: Path, labelled: Path) -> None:
    """No figure is cut off or broken."""
    for done in (duri("bench", "nab", "--data", nab), duri("bench", "events", "--data", labelled)):
        assert done.returncode == 0, done.stderr
        assert "…" not in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 80


def test_progress_is_told_on_standard_error(labelled: Path) -> None:
    """Standard output is the result alone."""
    done = duri("bench", "events", "--data", labelled, "--json")
    json.loads(done.stdout)
    assert "100 %" in done.stderr


def test_events_as_json(labelled: Path) -> None:
    """As raised, by domain, and with each domain left out."""
    report = json.loads(duri("bench", "events", "--data", labelled, "--json").stdout)
    assert report["raised"]["events"] == sum(one["events"] for one in report["domains"].values()) > 0
    assert set(report["domains"]) == {"domain-0", "domain-1"}
    assert 0.0 < report["left_out"]["ranked"]["f1"] <= 1.0


def test_what_is_judged_is_what_detection_says(labelled: Path) -> None:
    """The verdicts of the benchmark and of the live learners on a series are the same."""
    settings = load_settings()
    configuration = load_detection(settings.config_dir, settings.detect, partitions=1)
    series = Series(name="value", labels={"service": "recorded"}, kind=Kind.GAUGE, unit="")
    for file in load_labelled(labelled):
        live = score_series(configuration, series, file.ts, file.values)
        ours = replay(lambda: Bank(configuration.bank), file.ts, file.values)
        assert np.array_equal(live.verdicts.alarm, ours.alarm[live.rows])
        assert np.array_equal(live.verdicts.score, ours.score[live.rows])
        assert ours.alarm.sum() == live.verdicts.alarm.sum()


def test_plots_are_one_page_a_category(nab: Path, tmp_path: Path) -> None:
    """PNG pages, named after the categories, in a folder that is made."""
    pages = tmp_path / "new" / "pages"
    done = duri("bench", "nab", "--data", nab, "--plots", pages)
    assert done.returncode == 0, done.stderr
    assert sorted(page.name for page in pages.iterdir()) == ["first.png", "second.png"]
    assert all(page.read_bytes().startswith(b"\x89PNG") for page in pages.iterdir())
    assert f"2 pages of plots in {pages}" in done.stderr.replace("\n", "")


def test_plots_without_matplotlib_fail_at_once(nab: Path, tmp_path: Path) -> None:
    """Exit 2 and how to install it, before any work."""
    with patch("pipeline.views.plots.find_spec", return_value=None):
        done = duri("bench", "nab", "--data", nab, "--plots", tmp_path / "pages")
    assert done.returncode == 2
    assert "duri-pipeline[plots]" in done.stderr
    assert "%" not in done.stderr


def test_plots_that_cannot_be_written_are_named(labelled: Path, tmp_path: Path) -> None:
    """The folder is a file: exit 2 and its name."""
    taken = tmp_path / "taken"
    taken.write_text("", encoding="utf-8")
    done = duri("bench", "events", "--data", labelled, "--plots", taken)
    assert done.returncode == 2
    assert f"{taken}: plots cannot be written" in done.stderr


@pytest.mark.parametrize("command", ["nab", "events"])
def test_a_wrong_folder_is_named(command: str, tmp_path: Path) -> None:
    """Exit 2, the folder, and what was looked for."""
    done = duri("bench", command, "--data", tmp_path / "nowhere")
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert {"nab": "combined_windows.json", "events": "domain/series.csv"}[command] in done.stderr


def test_synthetic_at_one_step() -> None:
    """Every hour: each trouble with its share, and false alarms, for both kinds of noise."""
    done = duri("bench", "synthetic", "--step", "3600", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {one["noise"] for one in report["found"]} == {"gaussian", "student_t3"}
    spikes = [one for one in report["found"] if one["trouble"] == "spike of 10"]
    assert all(one["found_share"] > 0.5 for one in spikes)
    assert all(one["series_days"] > 0 for one in report["quiet"])


def test_a_step_that_is_not_tried_is_refused() -> None:
    """Exit 2 and the steps there are."""
    done = duri("bench", "synthetic", "--step", "7")
    assert done.returncode == 2
    assert "3600" in done.stderr
