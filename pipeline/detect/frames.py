"""Frames on the wire: `pipeline.records.Frame` as JSON, written without building the models.

A test holds both to the same bytes.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pipeline.detect.anomalies.opened import or_none
from pipeline.records import SCHEMA_VERSION, Frame, cloudevent_headers, content_id, from_ms
from pipeline.records import Detector as Detectors
from pipeline.stage import Output, Topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from pipeline.detect.anomalies.opened import Open
    from pipeline.detect.trained.models import LiveScore
    from pipeline.signals.calls import CallRate

_encoder = msgspec.json.Encoder()


class _Entry(msgspec.Struct, gc=False):
    """A signal in a frame; NaN becomes null in msgspec's JSON."""

    value: float
    expected: float
    lower: float
    upper: float
    score: float


class Source(NamedTuple):
    """The input record that completed a frame."""

    topic: str
    partition: int
    offset: int


class ServiceFrame(NamedTuple):
    """One service's part of a closed frame; the arrays are float64[signals] and float64[settings]."""

    service: str
    value: npt.NDArray[np.float64]
    expected: npt.NDArray[np.float64]
    lower: npt.NDArray[np.float64]
    upper: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]
    settings: npt.NDArray[np.float64]
    anomalies: Sequence[Open]
    together: float | None = None
    calls: Sequence[CallRate] = ()
    trained: Mapping[str, LiveScore] = {}


class FrameWriter:
    """Writes the frames of one input partition."""

    def __init__(self, signals: Sequence[str], settings: Sequence[str], system: str = "default") -> None:
        self._signals = signals
        self._settings = settings
        self._system = system

    def output(self, frame: ServiceFrame, start: int, end: int, source: Source) -> Output:
        """The frame [start, end) ms as an output for `duri.frames`."""
        body: dict[str, object] = {
            "schema_version": SCHEMA_VERSION,
            "service": frame.service,
            "system": self._system,
            "start": iso(start),
            "end": iso(end),
            "signals": self._signal_entries(frame),
            "settings": {
                name: value
                for name, value in zip(self._settings, frame.settings.tolist(), strict=True)
                if value == value  # noqa: PLR0124  NaN is the number that differs from itself
            },
            "anomalies": [_open_entry(anomaly) for anomaly in frame.anomalies],
            "calls": [call._asdict() for call in frame.calls],
            "source": {"topic": source.topic, "partition": source.partition, "offset": source.offset},
        }
        if frame.together is not None:
            body["together"] = frame.together
        if frame.trained:
            body["trained"] = {name: _trained_entry(score) for name, score in frame.trained.items()}
        identity = content_id("frame", frame.service, start)
        return Output(
            topic=Topic.FRAMES,
            value=_encoder.encode(body),
            timestamp=end,
            key=self._system.encode(),
            headers=cloudevent_headers(Frame.event_type(), f"/detect/{source.partition}", identity, end),
        )

    def _signal_entries(self, frame: ServiceFrame) -> dict[str, _Entry]:
        columns = zip(
            self._signals,
            frame.value.tolist(),
            frame.expected.tolist(),
            frame.lower.tolist(),
            frame.upper.tolist(),
            frame.score.tolist(),
            strict=True,
        )
        return {
            name: _Entry(value, expected, lower, upper, score)
            for name, value, expected, lower, upper, score in columns
            if value == value or expected == expected  # noqa: PLR0124  a signal that the service has never had is left out
        }


def _trained_entry(score: LiveScore) -> dict[str, object]:
    entry: dict[str, object] = {"version": score.version, "score": score.score}
    return entry | ({} if score.band is None else {"band": score.band})


def _open_entry(anomaly: Open) -> dict[str, object]:
    firing = anomaly.firing_now()
    shares = {one.signal: one.share for one in anomaly.contributors}
    entry: dict[str, object] = {
        "id": anomaly.id,
        "signal": anomaly.signal,
        "labels": anomaly.labels,
        "severity": anomaly.present_severity,
        "direction": anomaly.direction,
        "score": anomaly.score,
        "detectors": sorted({fired.detector for fired in firing}),
        "rules": [fired.rule for fired in firing if fired.detector is Detectors.STATIC],
        "opened_at": iso(anomaly.opened),
        "observed": or_none(anomaly.latest),
        "expected": or_none(anomaly.expected),
        "lead_s": anomaly.lead_s,
    }
    if anomaly.serious_since is not None:
        entry["serious_since"] = iso(anomaly.serious_since)
    return entry | ({"contributions": shares} if shares else {}) | ({"quiet": True} if anomaly.quiet else {})


@functools.lru_cache(maxsize=64)  # all services of a frame have its times
def iso(ms: int) -> str:
    """ISO 8601 in UTC, as pydantic writes it."""
    return from_ms(ms).isoformat().replace("+00:00", "Z")
