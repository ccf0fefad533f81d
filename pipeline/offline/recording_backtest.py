"""A backtest: recorded samples through the three live stages, what they publish into files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.batch import ARROW_CONTENT_TYPE, encode_batch, make_batch
from pipeline.errors import FileError
from pipeline.offline.findings import Findings, Written
from pipeline.offline.flow import LocalFlow
from pipeline.offline.seating import seated
from pipeline.records import Frame, from_ms
from pipeline.sources.recording import Naming
from pipeline.sources.replay import read
from pipeline.stage import Output, Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pipeline.settings import Settings
    from pipeline.sources.recording import Recording

_ROWS = 16_384
_HEADERS = (("content-type", ARROW_CONTENT_TYPE.encode()),)
_FRAME_TYPE = ("ce_type", Frame.event_type().encode())


def recordings_in(folder: Path) -> list[Path]:
    """CSV and Parquet files below the folder, by name. Raises FileError where there are none."""
    if not folder.is_dir():
        raise FileError(f"{folder}: is no folder; give one that holds CSV or Parquet files in long form")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".csv", ".parquet", ".pq"))
    if not found:
        raise FileError(
            f"{folder}: holds no CSV or Parquet file; the long form has timestamp, service, name, labels, value"
        )
    return found


def backtest(
    recording: Recording,
    settings: Settings,
    out: Path,
    report: Callable[[int], None] = lambda _: None,
    *,
    models: Sequence[str] = (),
    frames: bool = False,
) -> dict[str, Any]:
    """Run the recording through ingest, detect and advise; write JSON lines and `summary.json` into `out`.

    `report` is told the number of samples taken. `frames` are written too where they are asked for. `models` are live
    versions of trained models, `NAME/VERSION`. Returns the summary. Raises FileError where `out` cannot be written,
    ModelError for a model that may not run.
    """
    flow = LocalFlow(settings, seated(settings, models))
    with Findings(out, frames=frames) as findings:
        for done, outputs in _run(flow, recording):
            findings.write(
                Written(output.topic.value, output.timestamp, b"", output.value)
                for output in outputs
                if output.topic is not Topic.FRAMES or _FRAME_TYPE in output.headers
            )
            report(done)
        summary = {**_summary(recording, flow), **findings.counts()}
        findings.finish(json.dumps(summary, indent=2) + "\n")
    return summary


def _run(flow: LocalFlow, recording: Recording) -> Iterator[tuple[int, Iterator[Output]]]:
    for begin in range(0, len(recording), _ROWS):
        end = min(begin + _ROWS, len(recording))
        yield end, flow.publish([message(recording, begin, end)])
    yield len(recording), flow.finish()


def message(recording: Recording, begin: int, end: int) -> Output:
    """Rows `begin` to `end` of a recording as one Arrow message for `duri.metrics`."""
    index = recording.index[begin:end]
    used, first, local = np.unique(index, return_index=True, return_inverse=True)
    identities = np.array([recording.series[one].identity() for one in used.tolist()], dtype=np.uint64)
    labels: list[bytes | None] = [None] * len(index)
    for one, row in zip(used.tolist(), first.tolist(), strict=True):
        labels[row] = recording.series[one].canonical()
    batch = make_batch(identities[local], recording.ts[begin:end], recording.value[begin:end], labels)
    newest = int(recording.ts[end - 1])
    return Output(topic=Topic.METRICS, value=encode_batch(batch), timestamp=newest, headers=_HEADERS)


def _summary(recording: Recording, flow: LocalFlow) -> dict[str, Any]:
    return {
        "samples": len(recording),
        "series": len(recording.series),
        "missing_values": recording.missing,
        "from": from_ms(int(recording.ts[0])).isoformat(),
        "to": from_ms(int(recording.ts[-1])).isoformat(),
        "statistics": flow.statistics(),
    }


def load(folder: Path) -> Recording:
    """All recordings of a folder in order of time. Raises FileError."""
    return read(recordings_in(folder), Naming())
