"""Anomalies of raw series that no signal uses."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from models.contracts import Shape
from pipeline.detect.anomalies.lifecycle import About, Anomalies, Key, Observation
from pipeline.detect.frame import Flag
from pipeline.records import Detector, Provenance, Severity
from pipeline.series import SERVICE_LABEL, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    import numpy.typing as npt

    from models.contracts import Verdicts
    from pipeline.detect.frames import Source
    from pipeline.detect.registry import SeriesRegistry
    from pipeline.records import Anomaly
    from pipeline.series import Series


class Seen(NamedTuple):
    """A sample, and the learners' alarm on it; None where there is none."""

    observation: Observation
    flag: Flag | None


class RawAnomalies:
    """Turns the learners' alarms on watched series into anomalies, of severity info: alone they cause no advice."""

    def __init__(self, registry: SeriesRegistry, anomalies: Anomalies) -> None:
        self._registry = registry
        self._anomalies = anomalies

    def judge(
        self,
        slots: npt.NDArray[np.int32],
        ts: npt.NDArray[np.int64],
        watched: npt.NDArray[np.float64],
        source: Callable[[int], Source],
    ) -> Iterator[Anomaly]:
        """State changes that these samples cause; `source` tells a row's input record.

        What opens in one record is ranked at once; in one poll, polls that are cut elsewhere might say something else.
        """
        found = self._registry.watched.judge(slots, ts, watched)
        looked_at = zip(found.rows.tolist(), found.at.tolist(), strict=True)
        for read, rows in groupby(looked_at, key=lambda one: source(one[0])):
            changed = [
                self._change(int(slots[row]), _seen(int(ts[row]), float(watched[row]), found.verdicts, at), read)
                for row, at in rows
            ]
            yield from self._anomalies.ranked([one for one in changed if one is not None])

    def _change(self, slot: int, seen: Seen, source: Source) -> Anomaly | None:
        """The state change that one sample of the series in this slot causes."""
        series = self._registry.store.series(slot)
        key = key_of(series)
        if seen.flag is None:
            record = self._anomalies.rest(key, seen.observation)
        else:
            record = self._anomalies.fire(key, [seen.flag], seen.observation, _about(series, source))
        self._registry.watched.mark(slot, is_open=key in self._anomalies)
        return record


def key_of(series: Series) -> Key:
    """What an anomaly of this series is known by."""
    return Key(series.service, series.name, f"{series.identity():016x}")


def _seen(at: int, value: float, verdicts: Verdicts, row: int) -> Seen:
    """A sample at this time (ms), and the learners' verdict on it, in this row of the verdicts."""
    observation = Observation(
        at=at,
        value=value,
        expected=float(verdicts.expected[row]),
        lower=float(verdicts.lower[row]),
        upper=float(verdicts.upper[row]),
    )
    if not verdicts.alarm[row]:
        return Seen(observation, None)
    flag = Flag(
        row=-1,
        column=-1,
        detector=Detector.LEARNED,
        severity=Severity.INFO,
        score=float(verdicts.score[row]),
        since=at,
        shape=Shape(int(verdicts.shape[row])),
        settled=bool(verdicts.settled[row]),
    )
    return Seen(observation, flag)


def _about(series: Series, source: Source) -> About:
    unit = series.unit if series.kind is Kind.GAUGE else f"{series.unit or '1'}/s"
    return About(
        unit=unit,
        labels={label: value for label, value in series.labels.items() if label != SERVICE_LABEL},
        provenance=Provenance(topic=source.topic, partition=source.partition, offset=source.offset),
    )
