from __future__ import annotations

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.detect.configuration import load_detection
from pipeline.detect.stage import DetectStage
from pipeline.records import Anomaly, AnomalyState
from pipeline.settings import load_settings
from pipeline.sources.csv_recording import read_csv
from pipeline.sources.recording import Naming
from pipeline.stage import Topic
from tests.builders import SOURCE, samples
from tests.installation import duri

if TYPE_CHECKING:
    from collections.abc import Sequence

CLOUD = sorted((Path(__file__).parents[1] / "data" / "cloud").glob("*.csv"))
COLUMNS = ["timestamp", "value", "expected", "lower", "upper", "score", "alarm", "detectors"]
FRAME_S = 3600.0


def rows_of(text: str) -> list[dict[str, str]]:
    lines = list(csv.DictReader(text.splitlines()))
    assert lines
    return lines


def live_anomalies(path: Path) -> list[Anomaly]:
    """What the detect stage says of the one series of this file."""
    settings = load_settings()
    # A raw series is judged sample by sample, whatever the frames; long ones make two months pass quickly.
    detect = settings.detect.model_copy(update={"frame_s": FRAME_S})
    configuration = load_detection(settings.config_dir, detect, partitions=1)
    stage = DetectStage(configuration, input_topic="duri.samples", partition=0, sources=[SOURCE])
    recording = read_csv(path, Naming(name="value"))
    [series] = recording.series
    points = list(zip(recording.ts.tolist(), recording.value.tolist(), strict=True))
    # The end of a series waits for what comes after it.
    points.append((points[-1][0] + 2 * int(FRAME_S * 1000), points[-1][1]))
    log = [samples(at, [(series, ts, value)]) for at, (ts, value) in enumerate(points)]
    records = [Anomaly.model_validate_json(out.value) for out in stage.step(log) if out.topic is Topic.ANOMALIES]
    return [one for one in records if one.signal == "value"]


def episodes(records: Sequence[Anomaly]) -> list[tuple[datetime, datetime | None]]:
    """From when to when each anomaly was open; None: to the end."""
    closed = {one.id: one.last_at for one in records if one.state is AnomalyState.CLOSED}
    return [(one.opened_at, closed.get(one.id)) for one in records if one.state is AnomalyState.OPENED]


@pytest.mark.parametrize("recorded", CLOUD, ids=lambda path: path.stem)
def test_scores_are_the_verdicts_of_live_detection(recorded: Path) -> None:
    """Anomalies open live at rows in alarm, and every row in alarm lies in one of them."""
    scored = rows_of(duri("score", recorded).stdout)
    alarms = [datetime.fromisoformat(row["timestamp"]) for row in scored if row["alarm"] == "1"]
    opened = episodes(live_anomalies(recorded))
    assert opened
    assert {begin for begin, _ in opened} <= set(alarms)
    outside = [at for at in alarms if not any(begin <= at and (end is None or at <= end) for begin, end in opened)]
    assert outside == []


def test_columns_of_a_scored_series(tmp_path: Path) -> None:
    """A row for each time, in order: alarm is 0 or 1, the score a share, and alarms name who fired."""
    out = tmp_path / "scored.csv"
    done = duri("score", CLOUD[0], "-o", out)
    assert done.returncode == 0, done.stderr
    scored = rows_of(out.read_text(encoding="utf-8"))
    assert list(scored[0]) == COLUMNS
    first: dict[str, float] = {}
    for line in csv.DictReader(CLOUD[0].read_text(encoding="utf-8").splitlines()):
        first.setdefault(f"{line['TimeStamp'].replace(' ', 'T')}+00:00", float(line["Value"]))
    assert [(row["timestamp"], float(row["value"])) for row in scored] == sorted(first.items())
    assert {row["alarm"] for row in scored} == {"0", "1"}
    assert all(0.0 <= float(row["score"]) <= 1.0 for row in scored)
    assert all((row["detectors"] == "learned") == (row["alarm"] == "1") for row in scored)


def test_a_scored_file_is_there_whole_and_alone(tmp_path: Path) -> None:
    """An earlier file is replaced, nothing is left beside it."""
    out = tmp_path / "scored.csv"
    out.write_text("what was here before\n", encoding="utf-8")
    assert duri("score", CLOUD[0], "-o", out).returncode == 0
    assert out.read_text(encoding="utf-8").startswith(",".join(COLUMNS))
    assert [path.name for path in tmp_path.iterdir()] == ["scored.csv"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """No such folder: exit 2, the file and the reason in the message."""
    out = tmp_path / "nowhere" / "scored.csv"
    done = duri("score", CLOUD[0], "-o", out)
    assert done.returncode == 2
    assert f"{out}: cannot be written" in done.stderr


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("timestamp,value\n2026-01-01T00:00:00Z,1\n2026-01-01T00:01:00Z,many\n", "bad.csv:3"),
        ("timestamp,value\nyesterday,1\n", "bad.csv:2"),
        ("time,reading\n1,2\n", "bad.csv:1"),
    ],
)
def test_what_cannot_be_read_is_named_by_file_and_line(tmp_path: Path, text: str, place: str) -> None:
    """Unreadable input: exit 2, file and line on standard error, and no file written."""
    bad = tmp_path / "bad.csv"
    bad.write_text(text, encoding="utf-8")
    out = tmp_path / "out.csv"
    done = duri("score", bad, "-o", out)
    assert done.returncode == 2
    assert place in done.stderr
    assert done.stdout == ""
    assert not out.exists()


def test_many_series_are_a_matter_for_backtest(tmp_path: Path) -> None:
    """A file of two series: exit 2, and the command that takes it."""
    many = tmp_path / "many.csv"
    many.write_text("timestamp,service,name,value\n1767225600,a,load,1\n1767225600,b,load,2\n", encoding="utf-8")
    done = duri("score", many)
    assert done.returncode == 2
    assert "2 series" in done.stderr
    assert "backtest" in done.stderr


def test_the_summary_goes_where_the_samples_are_not(tmp_path: Path) -> None:
    """With -o standard output is the summary, one JSON object; without, standard output is the CSV alone."""
    out = tmp_path / "scored.csv"
    to_file = duri("score", CLOUD[0], "-o", out, "--json")
    to_terminal = duri("score", CLOUD[0], "--json")
    summary: dict[str, Any] = json.loads(to_file.stdout)
    assert to_file.stderr == ""
    assert to_terminal.stdout == out.read_text(encoding="utf-8")
    assert json.loads(to_terminal.stderr) == summary
    scored = rows_of(to_terminal.stdout)
    assert summary["samples"] == len(scored)
    assert summary["alarms"] == sum(row["alarm"] == "1" for row in scored) > 0
    assert 0 < summary["episodes"] <= summary["alarms"]
