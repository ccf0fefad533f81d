from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from pipeline.offline.compare import Comparison, compare
from pipeline.records import PUBLIC_RECORDS, Anomaly, Incident, Outcome, Recommendation, from_ms
from tests.builders import START
from tests.installation import duri, full_disk

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

FILES = {
    "anomalies.jsonl": Anomaly,
    "incidents.jsonl": Incident,
    "recommendations.jsonl": Recommendation,
    "outcomes.jsonl": Outcome,
}
LIMIT = 1 << 30
HEADER = "timestamp,service,name,labels,value\n"


def backtest(folder: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return duri("backtest", folder, "-o", out, *options)


def record_memory(folder: Path, minutes: int = 120, jumps_at: int = 60) -> int:
    """Two services in long form, one a file, with labels in both notations; `shop` fills its memory. How many rows."""
    folder.mkdir(exist_ok=True)
    rows = 0
    for service, labels in (("shop", "pod=a;zone=1"), ("cart", '"{""pod"": ""b""}"')):
        lines = [HEADER]
        for minute in range(minutes):
            used = 0.97 if service == "shop" and minute >= jumps_at else 0.5
            at = from_ms(START + minute * 60_000).isoformat()
            lines += [
                f"{at},{service},container_memory_usage_bytes,{labels},{used * LIMIT}\n",
                f"{at},{service},container_spec_memory_limit_bytes,{labels},{LIMIT}\n",
            ]
        (folder / f"{service}.csv").write_text("".join(lines), encoding="utf-8")
        rows += len(lines) - 1
    return rows


def records(out: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], int]:
    """A backtest of a service that fills its memory: where it wrote, the summary it printed, the rows it had."""
    folder = tmp_path_factory.mktemp("backtest")
    rows = record_memory(folder / "in")
    done = backtest(folder / "in", folder / "out", "--json", "--frames")
    assert done.returncode == 0, done.stderr
    return folder / "out", json.loads(done.stdout), rows


def test_a_backtest_writes_the_public_records(tested: tuple[Path, dict[str, Any], int]) -> None:
    """One file a topic, each line a valid record of its kind; nothing else but the summary."""
    out, summary, _ = tested
    assert {path.name for path in out.iterdir()} == {*FILES, "frames.jsonl", "summary.json"}
    for name, kind in FILES.items():
        assert kind in PUBLIC_RECORDS
        assert len([kind.model_validate(one) for one in records(out, name)]) == summary["records"][name[:-6]]


def test_a_backtest_finds_what_the_running_pipeline_finds(tested: tuple[Path, dict[str, Any], int]) -> None:
    """Long form with labels in either notation: the service that fills its memory, and no other, is flagged."""
    out, _, _ = tested
    flagged = records(out, "anomalies.jsonl")
    assert {one["service"] for one in flagged} == {"shop"}
    assert "container.memory.utilisation" in {one["signal"] for one in flagged}
    advice = records(out, "recommendations.jsonl")
    assert {(one["kind"], one["target"]["service"]) for one in advice} == {("container.memory_limit", "shop")}


def test_rules_are_tried_on_the_frames_of_a_backtest(tested: tuple[Path, dict[str, Any], int]) -> None:
    """`catalogue try` recommends on them what the backtest did."""
    out, _, _ = tested
    done = duri("catalogue", "try", "--frames", out / "frames.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    tried = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["id"] for one in tried} == {one["id"] for one in records(out, "recommendations.jsonl")}


def test_the_summary_printed_is_the_summary_written(tested: tuple[Path, dict[str, Any], int]) -> None:
    """`--json` prints one object on standard output, the one in summary.json; its counts are those of the files."""
    out, summary, rows = tested
    assert json.loads((out / "summary.json").read_text(encoding="utf-8")) == summary
    assert summary["samples"] == rows
    assert summary["series"] == 4
    assert summary["from"] == from_ms(START).isoformat()
    for name in ("anomalies", "incidents", "recommendations"):
        assert summary[name] == len({one["id"] for one in records(out, f"{name}.jsonl")}) > 0


def test_dead_letters_are_counted(tmp_path: Path) -> None:
    """Labels that ingest refuses: the summary says so, and no file holds bytes that are no JSON lines."""
    folder = tmp_path / "in"
    folder.mkdir()
    long = "x" * 20_000
    (folder / "a.csv").write_text(f"{HEADER}{START},shop,load,pod={long},1\n", encoding="utf-8")
    done = backtest(folder, tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["dead_letters"] == 1
    for name in FILES:
        assert records(tmp_path / "out", name) == []


def test_a_folder_without_recordings_is_an_error(tmp_path: Path) -> None:
    """An empty folder: exit 2, its name and what it should hold; nothing is written."""
    folder = tmp_path / "empty"
    folder.mkdir()
    done = backtest(folder, tmp_path / "out")
    assert done.returncode == 2
    assert f"{folder}: holds no CSV or Parquet file" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    """A line that cannot be read ends the backtest before anything is written: exit 2 with file and line."""
    record_memory(tmp_path / "in", minutes=2)
    bad = tmp_path / "in" / "cart.csv"
    bad.write_text(f"{HEADER}{START},shop,load,pod,1\n", encoding="utf-8")
    done = backtest(tmp_path / "in", tmp_path / "out")
    assert done.returncode == 2
    assert f"{bad}:2" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """One message that names the folder; results of the run before stay, and nothing half lies beside them."""
    record_memory(tmp_path / "in")
    done = backtest(tmp_path / "in", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with full_disk(room=2000):
        done = backtest(tmp_path / "in", tmp_path / "out", "--frames")
    assert done.returncode == 2
    assert f"{tmp_path / 'out'}: cannot be written" in " ".join(done.stderr.split())
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


def full_once_compared(folder: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A backtest whose disk is full when both runs are compared."""
    with ExitStack() as stack:

        def full_from_here(*folders: Path) -> Comparison:
            found = compare(*folders)
            stack.enter_context(full_disk(room=20))
            return found

        with patch("pipeline.cli.backtest.compare", full_from_here):
            return backtest(folder, out, "--against", "none", *options)


def test_a_full_disk_leaves_no_half_comparison(tmp_path: Path) -> None:
    """What both runs gave is whole and stays; one message names the comparison, of which nothing lies there."""
    record_memory(tmp_path / "in")
    done = full_once_compared(tmp_path / "in", tmp_path / "out")
    assert done.returncode == 2
    assert f"{tmp_path / 'out' / 'comparison.json'}: cannot be written" in " ".join(done.stderr.split())
    assert json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))["samples"]
    assert not list((tmp_path / "out").glob("comparison*"))


def test_a_comparison_is_of_the_runs_beside_it(tmp_path: Path) -> None:
    """That of an earlier run goes when its runs do: where the new one cannot be written, and where none is wanted."""
    record_memory(tmp_path / "in")
    for again in (full_once_compared, backtest):
        done = backtest(tmp_path / "in", tmp_path / "out", "--against", "none", "--plots")
        assert done.returncode == 0, done.stderr
        written = {path.name for path in (tmp_path / "out").glob("comparison*")}
        assert written == {"comparison.json", "comparison.png"}
        again(tmp_path / "in", tmp_path / "out")
        assert not list((tmp_path / "out").glob("comparison*"))
