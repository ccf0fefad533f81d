"""The end of a frame: signals, what every detector says of them, anomalies, and the frame of each service."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.detect.anomalies.lifecycle import About, Anomalies, Key, Observation
from pipeline.detect.anomalies.recent import RecentValues
from pipeline.detect.detectors.absent import AbsentData
from pipeline.detect.detectors.burn_rate import BurnRates
from pipeline.detect.detectors.learned import LearnedSignals
from pipeline.detect.detectors.regression import RegressionRules
from pipeline.detect.detectors.static import StaticRules
from pipeline.detect.detectors.together import BAR, SignalsTogether
from pipeline.detect.frame import (
    TOGETHER,
    TOGETHER_SIGNAL,
    WHOLE_SERVICE,
    WHOLE_SERVICE_SIGNAL,
    ClosedFrame,
    Flag,
)
from pipeline.detect.frames import FrameWriter, ServiceFrame, Source
from pipeline.records import Detector, Provenance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from pipeline.detect.configuration import DetectConfiguration
    from pipeline.detect.registry import SeriesRegistry
    from pipeline.detect.trained.models import TrainedModels
    from pipeline.records import Anomaly
    from pipeline.signals.calls import CallRate
    from pipeline.signals.plan import FrameValues
    from pipeline.stage import Output


class FrameCloser:
    """Closes frames in order. Keeps the detectors' state by service row."""

    def __init__(
        self, configuration: DetectConfiguration, registry: SeriesRegistry, anomalies: Anomalies, trained: TrainedModels
    ) -> None:
        definitions = configuration.definitions
        settings = configuration.settings
        signals = list(definitions.signals)
        patience = round(settings.absent_after_s * 1000)
        self._registry = registry
        self._anomalies = anomalies
        self._signals = signals
        self._column_of = {
            **{name: column for column, name in enumerate(signals)},
            WHOLE_SERVICE_SIGNAL: WHOLE_SERVICE,
            TOGETHER_SIGNAL: TOGETHER,
        }
        self._units = [signal.unit for signal in definitions.signals.values()]
        self._writer = FrameWriter(signals, list(definitions.settings))
        self._static = StaticRules(configuration.thresholds.rules, signals, patience)
        self._burn_rates = BurnRates(configuration.thresholds.objectives, signals, configuration.frame_ms)
        self._learned = LearnedSignals(list(definitions.signals.values()), configuration.bank, trained.priors)
        self._recent = RecentValues(len(signals), configuration.frame_ms)
        self._parts: dict[str, Any] = {
            "static": self._static,
            "regression": RegressionRules(configuration.thresholds.regression, signals, configuration.frame_ms),
            "burn_rate": self._burn_rates,
            "absent": AbsentData(len(signals), patience),
            "learned": self._learned,
        }
        self._together: SignalsTogether | None = None
        if configuration.multivariate is not None:
            # After the learners: it judges by what they expected.
            self._together = SignalsTogether(definitions.signals, self._learned, configuration.multivariate)
            self._parts["multivariate"] = self._together
        # Last: how a version in the shadow does is counted against what all others say.
        self._trained = self._parts["trained"] = trained

    def close(self, start: int, end: int, source: Source) -> Iterator[Anomaly | Output]:
        """Close the frame [start, end) ms: anomalies' state changes, then a frame for each service."""
        self._take_new_services()
        services = self._registry.services
        if not len(services):
            return
        values = self._registry.table.evaluate(self._registry.store.rows, services.rows)
        calls = self._registry.table.calls.evaluate(self._registry.store.rows)
        frame = ClosedFrame(
            start=start,
            end=end,
            values=values.signals,
            reported=values.reported,
            alive=services.alive(),
            sampled=self._registry.sampled(),
        )
        has_content = np.asarray(np.isfinite(np.hstack([values.signals, values.settings])).any(axis=1))
        flags: dict[int, dict[int, list[Flag]]] = {}
        for part in self._parts.values():
            for flag in part.judge(frame):
                flags.setdefault(flag.row, {}).setdefault(flag.column, []).append(flag)
        self._trained.compare(end, lambda row: self._others_see(row, flags.get(row, {})))
        changed = self._changed(frame, flags, source)
        for service, row in services.by_name():
            yield from changed.get(service, ())
            # A service of raw series alone has a frame only while something is wrong with it.
            if has_content[row] or row in calls or self._anomalies.of(service):
                content = self._service_frame(service, row, values, calls.get(row, ()))
                yield self._writer.output(content, start, end, source)
        self._recent.keep(frame)

    def _others_see(self, row: int, flags: Mapping[int, list[Flag]]) -> bool:
        """Whether anything but a trained model has something against the service in this row."""
        if any(flag.detector is not Detector.TRAINED for fired in flags.values() for flag in fired):
            return True
        opened = self._anomalies.of(self._registry.services.name(row))
        return any(fired.detector is not Detector.TRAINED for one in opened for fired in one.fired)

    def forget(self, rows: Sequence[int]) -> None:
        """These service rows are free."""
        if not rows:
            return
        freed = np.array(rows, dtype=np.int32)
        for part in (*self._parts.values(), self._recent):
            part.evict(freed)

    def attach_all(self) -> None:
        """Trained models keep no names of services in a snapshot: the registry has them."""
        for service, row in self._registry.services.by_name():
            self._trained.attach(row, service)

    def _take_new_services(self) -> None:
        new = self._registry.take_new_rows()
        if not new:
            return
        for part in (*self._parts.values(), self._recent):
            part.grow(self._registry.services.rows)
        for row, service in new:
            if self._registry.services.row(service) == row:
                self._static.attach(row, service)
                self._burn_rates.attach(row, service)
                self._trained.attach(row, service)

    def _changed(
        self, frame: ClosedFrame, flags: Mapping[int, Mapping[int, list[Flag]]], source: Source
    ) -> dict[str, list[Anomaly]]:
        """State changes of anomalies of signals, by service: all that opens in a frame is ranked at once."""
        services = self._registry.services.by_name()
        records = [one for name, row in services for one in self._live(name, row, frame, flags.get(row, {}), source)]
        found: dict[str, list[Anomaly]] = {}
        for record in self._anomalies.ranked(records):
            found.setdefault(record.service, []).append(record)
        return found

    def _live(
        self,
        service: str,
        row: int,
        frame: ClosedFrame,
        flags: Mapping[int, list[Flag]],
        source: Source,
    ) -> Iterator[Anomaly]:
        """State changes of this service's anomalies of signals."""
        resting = {self._column_of[key.signal] for key in self._anomalies.keys_of(service) if not key.entity}
        for column in sorted(flags.keys() | resting):
            key = Key(service, self._signal_name(column))
            fired = flags.get(column)
            observation = self._observe(row, column, frame)
            if fired is None:
                record = self._anomalies.rest(key, observation)
            else:
                record = self._anomalies.fire(key, fired, observation, self._about(row, column, frame.end, source))
            if record is not None:
                yield record

    def _signal_name(self, column: int) -> str:
        return {WHOLE_SERVICE: WHOLE_SERVICE_SIGNAL, TOGETHER: TOGETHER_SIGNAL}.get(column) or self._signals[column]

    def _observe(self, row: int, column: int, frame: ClosedFrame) -> Observation:
        if column == WHOLE_SERVICE:
            return Observation(at=frame.end)
        if column == TOGETHER:
            return Observation(at=frame.end, value=self._oddness(row), expected=0.0, lower=0.0, upper=BAR)
        learned = self._learned
        return Observation(
            at=frame.end,
            value=float(frame.values[row, column]),
            expected=float(learned.expected[row, column]),
            lower=float(learned.lower[row, column]),
            upper=float(learned.upper[row, column]),
        )

    def _oddness(self, row: int) -> float:
        """The highest score of what judges all signals together; NaN where nothing does."""
        together = float("nan") if self._together is None else float(self._together.score[row])
        return float(np.fmax(together, self._trained.highest[row]))

    def _about(self, row: int, column: int, end: int, source: Source) -> About:
        provenance = Provenance(topic=source.topic, partition=source.partition, offset=source.offset)
        if column in (WHOLE_SERVICE, TOGETHER):
            return About(unit="", labels={}, provenance=provenance)
        recent = self._recent.of(row, column, end)
        return About(unit=self._units[column], labels={}, provenance=provenance, recent=recent)

    def _service_frame(self, service: str, row: int, values: FrameValues, calls: Sequence[CallRate]) -> ServiceFrame:
        learned = self._learned
        return ServiceFrame(
            service=service,
            value=values.signals[row],
            expected=learned.expected[row],
            lower=learned.lower[row],
            upper=learned.upper[row],
            score=learned.score[row],
            settings=values.settings[row],
            anomalies=self._anomalies.of(service),
            together=None if self._together is None else float(self._together.score[row]),
            calls=calls,
            trained=self._trained.scores(row),
        )

    def statistics(self) -> dict[str, float]:
        """Trained models and their scores; models that failed, by error."""
        failures = Counter(self._trained.failures)
        if self._together is not None:
            failures.update(self._together.failures)
        counts = {f'model_failures_total{{error="{error}"}}': float(count) for error, count in failures.items()}
        return {**self._trained.statistics(), **counts}

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the detectors' state."""
        state = {}
        for name, part in (*self._parts.items(), ("recent", self._recent)):
            state.update({f"{name}.{key}": value for key, value in part.snapshot().items()})
        return state

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot. Raises ValueError where it does not fit."""
        for name, part in (*self._parts.items(), ("recent", self._recent)):
            prefix = f"{name}."
            part.restore({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
