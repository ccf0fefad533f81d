"""Recorded frames against a catalogue: what it would have recommended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import ValidationError

from pipeline.advise.ruletests import recommend
from pipeline.errors import FileError
from pipeline.records import ChangeEvent, Feedback, Frame, MaintenanceWindow, Muting, Watermark, to_ms
from pipeline.stage import LogRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.advise.incidents.topology import Topology
    from pipeline.advise.rules.catalogue import Catalogue
    from pipeline.records import Recommendation, Record

_KINDS: Final[tuple[tuple[str, type[Frame | ChangeEvent | Feedback | MaintenanceWindow | Muting]], ...]] = (
    ("signals", Frame),
    ("until", Muting),
    ("change", ChangeEvent),
    ("verdict", Feedback),
    ("end", MaintenanceWindow),
)
"""What a line is, by a field that only it has; a frame comes first, for it has an end too."""


class Tried(NamedTuple):
    """What came of it."""

    frames: int
    services: int
    recommendations: list[Recommendation]


def try_frames(path: Path, catalogue: Catalogue, topology: Topology) -> Tried:
    """Run the frames of a file (JSON lines, as on `duri.frames`, changes among them) through the advise stage.

    Raises FileError that names the line where one cannot be read.
    """
    read = list(_read(path))
    frames = [record for record in read if isinstance(record, Frame)]
    if not frames:
        raise FileError(f"{path}: holds no frame; a line of it is a record of duri.frames as JSON")
    frame_s = (frames[0].end - frames[0].start).total_seconds()
    if frame_s <= 0:
        raise FileError(f"{path}: its first frame ends before it starts")
    found = recommend(catalogue, _log(read), topology=topology, frame_s=frame_s)
    return Tried(len(frames), len({frame.service for frame in frames}), found)


def _read(path: Path) -> Iterator[Record]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: cannot be read ({error})") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            data: Any = json.loads(line)
            fields = data.keys() if isinstance(data, dict) else ()
            if "source_partition" in fields or fields == {"at"}:
                continue  # watermarks and ticks are made anew
            kind = next((kind for name, kind in _KINDS if name in fields), None)
            if kind is None:
                raise FileError(f"{path}:{number}: is neither a frame nor a control record")
            yield kind.model_validate(data)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
            raise FileError(f"{path}:{number}: {problems}") from error
        except ValueError as error:
            raise FileError(f"{path}:{number}: is no JSON ({error})") from error


def _log(read: list[Record]) -> Iterator[LogRecord]:
    """In order of time, with a watermark after each interval."""
    timed = sorted(((_moment(record), place) for place, record in enumerate(read)), key=lambda each: each)
    done = 0
    for at, place in timed:
        if done and at > done:
            yield _record(Watermark.model_validate({"source_partition": 0, "until": done / 1000}))
        record = read[place]
        if isinstance(record, Frame):
            done = max(done, at)
            source = record.source.model_copy(update={"partition": 0})
            record = record.model_copy(update={"source": source})
        yield _record(record)
    yield _record(Watermark.model_validate({"source_partition": 0, "until": done / 1000}))


def _moment(record: Record) -> int:
    return to_ms(record.end if isinstance(record, Frame) else record.at)  # type: ignore[attr-defined]


def _record(record: Record) -> LogRecord:
    headers = [("ce_type", record.event_type().encode())]
    return LogRecord("duri.frames", 0, 0, 0, None, record.model_dump_json().encode(), headers)
