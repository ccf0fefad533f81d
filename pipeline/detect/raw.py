"""Anomalies of raw series that no signal uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        """State changes that these samples cause; `source` tells a row's input record."""
        found = self._registry.watched.judge(slots, ts, watched)
        for row, at in zip(found.rows.tolist(), found.at.tolist(), strict=True):
            slot = int(slots[row])
            series = self._registry.store.series(slot)
            key = key_of(series)
            verdicts = found.verdicts
            observation = Observation(
                at=int(ts[row]),
                value=float(watched[row]),
                expected=float(verdicts.expected[at]),
                lower=float(verdicts.lower[at]),
                upper=float(verdicts.upper[at]),
            )
            if verdicts.alarm[at]:
                flag = _flag(observation, verdicts, at)
                record = self._anomalies.fire(key, [flag], observation, _about(series, source(row)))
            else:
                record = self._anomalies.rest(key, observation)
            self._registry.watched.mark(slot, is_open=key in self._anomalies)
            if record is not None:
                yield record


def key_of(series: Series) -> Key:
    """What an anomaly of this series is known by."""
    return Key(series.service, series.name, f"{series.identity():016x}")


def _flag(observation: Observation, verdicts: Verdicts, at: int) -> Flag:
    return Flag(
        row=-1,
        column=-1,
        detector=Detector.LEARNED,
        severity=Severity.INFO,
        score=float(verdicts.score[at]),
        since=observation.at,
        shape=Shape(int(verdicts.shape[at])),
        settled=bool(verdicts.settled[at]),
    )


def _about(series: Series, source: Source) -> About:
    unit = series.unit if series.kind is Kind.GAUGE else f"{series.unit or '1'}/s"
    return About(
        unit=unit,
        labels={label: value for label, value in series.labels.items() if label != SERVICE_LABEL},
        provenance=Provenance(topic=source.topic, partition=source.partition, offset=source.offset),
    )
