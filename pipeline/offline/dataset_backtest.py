"""A backtest over a dataset: ingest and detect by groups of services in parallel, advise over what they found.

The groups work on a chunk of time while advise takes the chunk before, so that all processors have something to do.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from joblib import delayed

from pipeline.errors import FileError
from pipeline.offline.advising import Advising, said
from pipeline.offline.backends import Workers
from pipeline.offline.dataset.reading import Dataset
from pipeline.offline.dataset.tables import Table
from pipeline.offline.dataset.times import Span
from pipeline.offline.detecting import Detected, detect_chunk, unpack
from pipeline.offline.findings import Findings, Written
from pipeline.offline.parts import chunks, groups
from pipeline.offline.seating import seated
from pipeline.records import Frame, from_ms
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pipeline.settings import Settings
    from pipeline.stage import Output


def backtest(  # noqa: PLR0913  what to run, and what to write, are told apart by name
    dataset: Dataset | Path | str,
    settings: Settings,
    out: Path,
    *,
    workers: Workers | None = None,
    span: Span | None = None,
    models: Sequence[str] = (),
    frames: bool = False,
    report: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Run a dataset's samples through the stages; write JSON lines and `summary.json` into `out`; the summary.

    What is written depends neither on the backend nor on how many work. `models` are live versions of trained models,
    `NAME/VERSION` in the registry of the settings. `frames`, and what was said among them, are written too where they
    are asked for. `report` is told the samples taken so far. Raises FileError where the dataset cannot be read or
    `out` not be written, SettingsError for backend and settings, ModelError for a model that may not run.
    """
    dataset = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
    run = _Backtest(dataset, settings, workers or Workers(), span or _samples_span(dataset), seated(settings, models))
    with Findings(out, frames=frames) as findings:
        if frames:
            findings.write(run.said())
        for written in run.chunks(report):
            findings.write(written)
        summary = {**run.summary(), **findings.counts()}
        findings.finish(json.dumps(summary, indent=2) + "\n")
    return summary


def _samples_span(dataset: Dataset) -> Span:
    files = dataset.manifest.of(Table.SAMPLES)
    if not files:
        raise FileError(f"{dataset.folder}: holds no samples to run; `duri dataset export` or `from-csv` adds some")
    return Span(min(file.first for file in files), max(file.last for file in files) + 1)


_FRAME = Frame.event_type().encode()


class _Backtest:
    """One run."""

    def __init__(
        self, dataset: Dataset, settings: Settings, workers: Workers, span: Span, models: Sequence[Output]
    ) -> None:
        self._dataset = dataset
        self._settings = settings
        self._workers = workers
        self._span = span
        self._groups = groups(dataset.manifest, workers.count)
        self._said = said(dataset, span)
        self._advising = Advising(settings, self._said)
        self._states: list[Any] = [models] * len(self._groups)
        self._statistics: list[dict[str, float]] = [{} for _ in self._groups]
        self._samples = 0

    def said(self) -> list[Written]:
        """Changes, answers and maintenance windows, which are on `duri.frames` among the frames."""
        return [Written(Topic.FRAMES.value, *one) for one in self._said]

    def chunks(self, report: Callable[[int], None]) -> Iterator[list[Written]]:
        """What all stages wrote, chunk by chunk, in an order of its own that is always the same."""
        rows = self._dataset.manifest.rows(Table.SAMPLES) // max(len(self._groups), 1)
        services = len(self._dataset.services(Table.SAMPLES))
        spans = chunks(self._span, rows, services, round(self._settings.detect.frame_s * 1000))
        before: list[Detected] = []
        with self._workers.parallel() as parallel:
            for chunk in spans:
                running = parallel(self._tasks(chunk, last=chunk is spans[-1]))
                yield self._advise(before)
                before = self._collect(running, report)
            yield self._advise(before)

    def _tasks(self, chunk: Span, *, last: bool) -> Sequence[Any]:
        work: Callable[..., Any] = delayed(detect_chunk)
        folder = str(self._dataset.folder.resolve())
        return [
            work(self._settings, folder, group, chunk, last, state)
            for group, state in zip(self._groups, self._states, strict=True)
        ]

    def _collect(self, running: Any, report: Callable[[int], None]) -> list[Detected]:
        found: list[Detected] = []
        for number, part in enumerate(running):
            self._states[number] = part.state
            self._statistics[number] = dict(part.statistics)
            self._samples += part.samples
            report(self._samples)
            found.append(part)
        return found

    def _advise(self, detected: Sequence[Detected]) -> list[Written]:
        written = [record for part in detected for record in unpack(part.written)]
        frames = [record for record in written if record.topic == Topic.FRAMES and record.event_type == _FRAME]
        found = [*frames, *(record for record in written if record.topic != Topic.FRAMES)]
        advised = self._advising.take(frames)
        found.extend(Written(output.topic.value, output.timestamp, b"", output.value) for output in advised)
        return sorted(found)

    def summary(self) -> dict[str, Any]:
        """What was run, and the stages' counts."""
        totals: Counter[str] = Counter()
        for statistics in self._statistics:
            totals.update(statistics)
        return {
            "dataset": self._dataset.fingerprint,
            "samples": self._samples,
            "from": from_ms(self._span.start).isoformat(),
            "to": from_ms(self._span.end - 1).isoformat(),
            "statistics": dict(sorted({**totals, **self._advising.statistics()}.items())),
        }
