"""`duri score`: the live detector on one recorded series."""

from __future__ import annotations

import csv
import json
import sys
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from pipeline.detect.configuration import load_detection
from pipeline.detect.scoring import Scored, score_series
from pipeline.errors import FileError
from pipeline.records import Detector, from_ms
from pipeline.settings import load_settings
from pipeline.sources.csv_recording import read_csv
from pipeline.sources.recording import Naming

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.sources.recording import Recording

_COLUMNS = ("timestamp", "value", "expected", "lower", "upper", "score", "alarm", "detectors")


def score(
    recorded: Annotated[Path, typer.Argument(metavar="IN.csv", help="One series: columns timestamp and value.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="OUT.csv", help="Where to write; left out, to the terminal."),
    ] = None,
    json_summary: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Judge each sample of a recorded series as the running pipeline would.

    Adds expected, lower, upper, score, alarm (0 or 1) and detectors. Samples without a value and repeated times are
    left out, as live; the summary counts them. It goes to standard output, or to standard error where the samples
    are there.
    """
    settings = load_settings(config)
    configuration = load_detection(settings.config_dir, settings.detect, partitions=1)
    recording = read_csv(recorded, Naming(name="value"))
    if len(recording.series) != 1:
        raise FileError(f"{recorded}: holds {len(recording.series)} series; score takes one, backtest takes many")
    scored = score_series(configuration, recording.series[0], recording.ts, recording.value)
    with _writable(output) as stream:
        _write(stream, recording, scored)
    typer.echo(_summary(recording, scored, as_json=json_summary), err=output is None)


@contextmanager
def _writable(path: Path | None) -> Iterator[TextIO]:
    """The file, written beside and renamed when whole; standard output where there is none. Raises FileError."""
    if path is None:
        yield sys.stdout
        return
    beside = path.with_name(path.name + ".part")
    try:
        with beside.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        beside.replace(path)
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        beside.unlink(missing_ok=True)


def _write(stream: TextIO, recording: Recording, scored: Scored) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    verdicts = scored.verdicts
    columns = zip(
        recording.ts[scored.rows].tolist(),
        scored.watched.tolist(),
        verdicts.expected.tolist(),
        verdicts.lower.tolist(),
        verdicts.upper.tolist(),
        verdicts.score.tolist(),
        verdicts.alarm.tolist(),
        strict=True,
    )
    for ts, value, expected, lower, upper, level, alarm in columns:
        # NaN, no expectation yet, is written as nothing.
        band = ["" if number != number else f"{number:.6g}" for number in (expected, lower, upper)]  # noqa: PLR0124
        detectors = Detector.LEARNED if alarm else ""
        writer.writerow([from_ms(ts).isoformat(), repr(value), *band, f"{level:.4f}", int(alarm), detectors])


def _summary(recording: Recording, scored: Scored, *, as_json: bool) -> str:
    alarm = scored.verdicts.alarm
    episodes = int(alarm[:1].sum() + (alarm[1:] & ~alarm[:-1]).sum())
    summary = {
        "samples": len(scored.rows),
        "alarms": int(alarm.sum()),
        "episodes": episodes,
        "left_out": recording.missing + len(recording) - len(scored.rows),
    }
    if as_json:
        return json.dumps(summary)
    words = (f"{summary['samples']} samples", f"{summary['alarms']} in alarm in {episodes} episodes")
    return f"{'; '.join(words)}; {summary['left_out']} left out"
