"""A recording: samples that were written to files, as columns in order of time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.series import SERVICE_LABEL, Kind, Series, kind_of_name, unit_of_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_:]+")
_IDENTIFIER = re.compile(r"[_-](?=[^_-]*\d)[^_-]*$")


@dataclass(frozen=True, slots=True)
class Recording:
    """n samples of s series: index int64[n] into `series`, ts int64[n] in ms, value float64[n]."""

    series: Sequence[Series]
    index: npt.NDArray[np.int64]
    ts: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    missing: int = 0
    """Rows without a finite value, left out."""

    def __len__(self) -> int:
        return len(self.ts)

    def in_order(self) -> Recording:
        """The same samples in order of time; samples of one time keep their order."""
        if np.all(self.ts[1:] >= self.ts[:-1]):
            return self
        order = np.argsort(self.ts, kind="stable")
        return Recording(self.series, self.index[order], self.ts[order], self.value[order], self.missing)


@dataclass(frozen=True, slots=True)
class Naming:
    """What to call the one series of a file that does not say; None: by the file's name."""

    name: str | None = None
    service: str | None = None

    def series_of(self, path: Path) -> Series:
        """The series of a file of (timestamp, value) rows: a gauge, whatever its name would mean elsewhere."""
        name = self.name or metric_of_stem(path.stem)
        labels = {SERVICE_LABEL: self.service or path.stem}
        return Series(name=name, labels=labels, kind=Kind.GAUGE, unit="")


def metric_of_stem(stem: str) -> str:
    """Metric name from a file's name: without a last part that is an identifier (has a digit), in legal characters.

    `ec2_cpu_utilization_24ae8d` is `ec2_cpu_utilization`; `nyc_taxi` stays.
    """
    name = _NOT_IN_NAMES.sub("_", _IDENTIFIER.sub("", stem)).strip("_")
    return name or "value"


def series_of(name: str, service: str, labels: Mapping[str, str]) -> Series:
    """A series in long form; kind and unit by the Prometheus naming of its metric."""
    return Series(
        name=name,
        labels={**labels, SERVICE_LABEL: service},
        kind=kind_of_name(name),
        unit=unit_of_name(name),
    )


def merge(recordings: Sequence[Recording]) -> Recording:
    """All samples of all recordings in order of time; where times are equal, in the order of the recordings.

    The same series in two recordings stays two entries of `series`.
    """
    offsets = np.cumsum([0, *(len(one.series) for one in recordings)])
    # Each column begins with an empty piece, because nothing cannot be concatenated.
    index = [np.empty(0, dtype=np.int64)]
    index += [one.index + offset for one, offset in zip(recordings, offsets, strict=False)]
    together = Recording(
        series=[series for one in recordings for series in one.series],
        index=np.concatenate(index),
        ts=np.concatenate([np.empty(0, dtype=np.int64), *(one.ts for one in recordings)]),
        value=np.concatenate([np.empty(0, dtype=np.float64), *(one.value for one in recordings)]),
        missing=sum(one.missing for one in recordings),
    )
    return together.in_order()
