from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import yaml

from pipeline.advise import load_advice
from pipeline.advise.tryout import try_frames
from pipeline.configfile import shipped_config
from pipeline.errors import FileError, SettingsError
from pipeline.offline import Dataset, Workers, backends, backtest
from pipeline.offline import parts as division
from pipeline.offline.backends import Backend
from pipeline.offline.compare import Fired, match
from pipeline.offline.dataset.tables import Table
from pipeline.offline.dataset.times import Span
from pipeline.offline.parts import chunks
from pipeline.registry.store import Store
from pipeline.settings import load_settings
from pipeline.stage import Topic
from tests.builders import START
from tests.installation import duri
from tests.offline.dataset import flowed
from tests.offline.dataset.test_dataset_commands import recorded
from tests.offline.flows import FOUND, comparable
from tests.registry.trained import band, detector

if TYPE_CHECKING:
    from pathlib import Path

HOURS = 3


def files_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


def lines(out: Path, topic: Topic) -> list[bytes]:
    return (out / f"{topic}.jsonl").read_bytes().splitlines()


@pytest.fixture(scope="module")
def history() -> flowed.Flowed:
    """What the stages write in three hours of the generated system; no broker is asked."""
    return flowed.history("backtest-", "127.0.0.1:1", HOURS)


@pytest.fixture(scope="module")
def dataset(history: flowed.Flowed, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The same, as a dataset."""
    folder = tmp_path_factory.mktemp("history") / "data"
    flowed.store(folder, history)
    return Dataset(folder)


@pytest.fixture(scope="module")
def serial(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backtest in this process."""
    out = tmp_path_factory.mktemp("serial") / "out"
    backtest(dataset, load_settings(), out, workers=Workers(Backend.SERIAL))
    return out


def test_trying_the_rules_on_a_backtests_frames_advises_the_same(dataset: Dataset, tmp_path: Path) -> None:
    """What was announced stands among the frames: without the deploy no rule would ask for a rollback."""
    settings = load_settings()
    backtest(dataset, settings, tmp_path / "out", workers=Workers(Backend.SERIAL), frames=True)
    tried = try_frames(tmp_path / "out" / "frames.jsonl", *load_advice(settings.config_dir))
    said = [json.loads(line) for line in lines(tmp_path / "out", Topic.RECOMMENDATIONS)]
    advised = {(one["target"]["service"], one["provenance"]["rule"]) for one in said}
    announced = [json.loads(text) for text in dataset.read(Table.CHANGES)["record"]]
    assert announced
    assert [one for one in map(json.loads, lines(tmp_path / "out", Topic.FRAMES)) if "change" in one] == announced
    assert advised
    assert {(one.target.service, one.provenance.rule) for one in tried.recommendations} == advised


def test_a_backtest_finds_what_was_found_live(history: flowed.Flowed, serial: Path) -> None:
    """Each record that the stages wrote is found again; beyond them only what the last minutes' frames cause."""
    for topic in FOUND:
        live = comparable(output.value for output in history.of(topic))
        found = comparable(lines(serial, topic))
        assert set(live) <= set(found), topic
        assert len(found) - len(live) <= 3
    assert lines(serial, Topic.RECOMMENDATIONS)


@pytest.mark.parametrize("jobs", [2, 3])
def test_processes_give_the_same_bytes(dataset: Dataset, serial: Path, tmp_path: Path, jobs: int) -> None:
    """However many work, the files are those of a run in one process."""
    backtest(dataset, load_settings(), tmp_path / "out", workers=Workers(Backend.PROCESSES, jobs))
    assert files_of(tmp_path / "out") == files_of(serial)


def test_a_dask_cluster_gives_the_same_bytes(dataset: Dataset, serial: Path, tmp_path: Path, dask: str) -> None:
    """Two worker processes of a Dask cluster write what one process writes."""
    backtest(dataset, load_settings(), tmp_path / "out", workers=Workers(Backend.DASK, 2, dask))
    assert files_of(tmp_path / "out") == files_of(serial)


def test_a_ray_cluster_gives_the_same_bytes(dataset: Dataset, serial: Path, tmp_path: Path, ray: str) -> None:
    """Worker processes on two nodes of a Ray cluster write what one process writes."""
    backtest(dataset, load_settings(), tmp_path / "out", workers=Workers(Backend.RAY, 2, ray))
    assert files_of(tmp_path / "out") == files_of(serial)


def test_ray_without_a_cluster_is_an_error(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not installed, and no address: what to install, which option to give."""
    monkeypatch.setattr(backends, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"ray is not installed; pip install 'duri-pipeline\[ray\]'"):
        backtest(dataset, load_settings(), tmp_path / "out", workers=Workers(Backend.RAY))
    monkeypatch.setattr(backends, "find_spec", lambda _: True)
    with pytest.raises(SettingsError, match="name its head with --address"):
        backtest(dataset, load_settings(), tmp_path / "out", workers=Workers(Backend.RAY))
    assert not (tmp_path / "out").exists()


def test_chunks_of_time_change_nothing(
    dataset: Dataset, serial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In chunks of half an hour, each from the state of the one before: the same bytes."""
    monkeypatch.setattr(division, "_CHUNK_FRAMES", 4 * 30)
    backtest(dataset, load_settings(), tmp_path / "out", workers=Workers(Backend.SERIAL))
    assert files_of(tmp_path / "out") == files_of(serial)


@pytest.mark.parametrize("services", [1, 10, 100_000])
def test_chunks_cover_the_span_once(services: int) -> None:
    """Whole slices, without holes or overlaps, the first and last sample included."""
    span = Span(START + 61_000, START + 3 * 86_400_000 + 5_000)
    found = chunks(span, 10_000_000, services, 60_000)
    assert found[0].start <= span.start < found[0].end
    assert found[-1].start < span.end <= found[-1].end
    assert all(before.end == after.start for before, after in pairwise(found))
    assert all((chunk.end - chunk.start) % division.SLICE_MS == 0 for chunk in found)


def without(folder: Path, rule: str) -> Path:
    """A settings file whose rules are the shipped ones, but for one that never fires."""
    config = folder / "config"
    config.mkdir()
    for path in shipped_config().iterdir():
        (config / path.name).symlink_to(path)
    thresholds = yaml.safe_load((shipped_config() / "thresholds.yaml").read_text(encoding="utf-8"))
    thresholds["rules"][rule] |= {"for": "10000h"}
    (config / "thresholds.yaml").unlink()
    (config / "thresholds.yaml").write_text(yaml.safe_dump(thresholds, sort_keys=False), encoding="utf-8")
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump({"config_dir": str(config)}), encoding="utf-8")
    return path


def test_a_changed_rule_is_counted(dataset: Dataset, serial: Path, tmp_path: Path) -> None:
    """--against settings in which one rule never fires: how often it fires now, and that all else is the same."""
    fired = [json.loads(line) for line in lines(serial, Topic.ANOMALIES)]
    rules = [firing["rule"] for one in fired for firing in one["detectors"] if firing["detector"] == "static"]
    assert rules
    other = without(tmp_path, rules[0])
    done = duri("backtest", dataset.folder, "-o", tmp_path / "out", "--against", other, "--backend", "serial", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["comparison"]["fired_by"]
    counts = found.pop(f"rule {rules[0]}")
    assert counts["new"] > 0
    assert counts["current"] == 0
    assert all(one["new"] == one["current"] for name, one in found.items() if name.startswith("rule "))
    assert json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))["fired_by"]
    assert files_of(tmp_path / "out")["anomalies.jsonl"] == files_of(serial)["anomalies.jsonl"]


def fired(start: int, end: int, signal: str = "cpu") -> Fired:
    return Fired("shop", signal, start * 1000, end * 1000, frozenset({"static"}), f"{signal}{start}")


def test_the_same_trouble_is_matched_once() -> None:
    """Overlapping anomalies of one signal are a pair, earlier or later; the rest fires in one run alone."""
    new = [fired(0, 10), fired(20, 30), fired(22, 40), fired(0, 9, "memory")]
    current = [fired(4, 12), fired(25, 28), fired(90, 99)]
    found = match(new, current)
    assert [(pair.new.id, pair.earlier_s) for pair in found.both] == [("cpu0", 4.0), ("cpu20", 5.0)]
    assert [one.id for one in found.only_new] == ["memory0", "cpu22"]
    assert [one.id for one in found.only_current] == ["cpu90"]
    assert found.rules == {"static": (4, 3)}


def test_a_folder_without_samples_is_named(tmp_path: Path) -> None:
    """A dataset that holds other tables only: exit status 2, and what adds some; nothing is written."""
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(FileError, match="holds no samples to run"):
        backtest(tmp_path, load_settings(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_dask_without_a_scheduler_is_an_error(dataset: Dataset, tmp_path: Path) -> None:
    """No address, and one where nobody answers: the option is named."""
    with pytest.raises(SettingsError, match="name its scheduler with --address"):
        backtest(dataset, load_settings(), tmp_path / "out", workers=Workers(Backend.DASK))
    with pytest.raises(SettingsError, match=r"--address tcp://127.0.0.1:9: no Dask scheduler answers"):
        backtest(dataset, load_settings(), tmp_path / "out", workers=Workers(Backend.DASK, 1, "tcp://127.0.0.1:9"))
    assert not (tmp_path / "out").exists()


def test_the_command_takes_datasets(tmp_path: Path) -> None:
    """`duri backtest` on a folder with a manifest runs the dataset, and prints the summary that it writes."""
    assert duri("dataset", "from-csv", recorded(tmp_path / "a.csv"), "--out", tmp_path / "data").returncode == 0
    done = duri("backtest", tmp_path / "data", "-o", tmp_path / "out", "--backend", "serial", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert json.loads(done.stdout)["samples"] == 180


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Two versions of a model over signals that the system has, as the command names them."""
    place = tmp_path_factory.mktemp("models")
    store = Store(str(place))
    return place, [f"services/{store.add(*detector(seed, threshold=0.45))}" for seed in (1, 2)]


def test_a_model_against_none(dataset: Dataset, serial: Path, tmp_path: Path, registry: tuple[Path, list[str]]) -> None:
    """What it would have found, with its version; without it all is as it was; in processes the same bytes."""
    place, [model, _] = registry
    command = ("backtest", dataset.folder, "--model", model, "--registry", place, "--json")
    done = duri(*command, "-o", tmp_path / "out", "--against", "none", "--backend", "serial", "--plots")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(done.stdout)["comparison"]["fired_by"]
    assert found["trained"] == found[f"rule {model.replace('/', ' ')}"]
    assert found["trained"]["new"] > 0
    assert found["trained"]["current"] == 0
    assert files_of(tmp_path / "out" / "against")["anomalies.jsonl"] == files_of(serial)["anomalies.jsonl"]
    assert duri(*command, "-o", tmp_path / "again", "--jobs", "3").returncode == 0
    assert lines(tmp_path / "again", Topic.ANOMALIES) == lines(tmp_path / "out", Topic.ANOMALIES)


def test_a_band_against_none(tmp_path: Path) -> None:
    """Once signals have had a day it finds what is beyond their bands; a run in processes gives the same bytes."""
    history = flowed.history("bands-", "127.0.0.1:1", hours=36, frame_s=600.0)
    flowed.store(tmp_path / "data", history)
    version = Store(str(tmp_path / "models")).add(*band(threshold=0.5))
    config = tmp_path / "duri.yaml"
    config.write_text(yaml.safe_dump({"detect": {"frame_s": 600.0}}), encoding="utf-8")
    of = ("--model", f"services/{version}", "--registry", tmp_path / "models", "--config", config)
    command = ("backtest", tmp_path / "data", *of, "--json")
    done = duri(*command, "-o", tmp_path / "out", "--against", "none", "--backend", "serial")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["comparison"]["fired_by"]
    assert found["trained"] == found[f"rule services {version}"]
    assert found["trained"]["new"] > 0
    assert found["trained"]["current"] == 0
    raised = [json.loads(line) for line in lines(tmp_path / "out", Topic.ANOMALIES)]
    mine = [one for one in raised if one["signal"] == "signals"]
    assert min(one["opened_at"] for one in mine) >= "2025-01-07"
    assert all(one["lower"] <= one["expected"] <= one["upper"] for one in mine[0]["contributions"])
    assert duri(*command, "-o", tmp_path / "again", "--jobs", "2").returncode == 0
    assert lines(tmp_path / "again", Topic.ANOMALIES) == lines(tmp_path / "out", Topic.ANOMALIES)


def test_plots_need_something_to_compare_with(dataset: Dataset, tmp_path: Path) -> None:
    """--plots without --against: exit status 2 before anything is run."""
    done = duri("backtest", dataset.folder, "-o", tmp_path / "out", "--plots")
    assert done.returncode == 2
    assert "--against" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_model_against_another(dataset: Dataset, tmp_path: Path, registry: tuple[Path, list[str]]) -> None:
    """Both versions are counted, each in its run."""
    place, [new, current] = registry
    command = ("backtest", dataset.folder, "-o", tmp_path / "out", "--model", new, "--against", current)
    done = duri(*command, "--registry", place, "--backend", "serial", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["comparison"]["fired_by"]
    assert found[f"rule {new.replace('/', ' ')}"]["current"] == 0
    assert found[f"rule {current.replace('/', ' ')}"]["new"] == 0


def test_a_model_that_may_not_run_is_no_backtest(dataset: Dataset, tmp_path: Path) -> None:
    """One that is not there, and a name that is none: what is wrong, and nothing written."""
    for named, says in (("services/" + "0" * 12, "there is no such version"), ("services", "NAME/VERSION is wanted")):
        done = duri("backtest", dataset.folder, "-o", tmp_path / "out", "--model", named, "--registry", tmp_path)
        assert done.returncode != 0
        assert says in done.stderr
        assert not (tmp_path / "out").exists()
