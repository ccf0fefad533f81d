"""The three stages connected without Kafka: one partition each, records in memory, the same code as live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.advise import load_advice
from pipeline.advise.stage import AdviseStage
from pipeline.detect.configuration import load_detection
from pipeline.detect.stage import DetectStage
from pipeline.ingest.control import ControlStage
from pipeline.ingest.stage import IngestStage
from pipeline.stage import LogRecord, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipeline.settings import Settings
    from pipeline.stage import Output, Stage


class LocalFlow:
    """Messages in, everything that the stages would have published out.

    Outputs that are another stage's input are taken there at once and given out as well.
    """

    def __init__(self, settings: Settings, models: Sequence[Output] = ()) -> None:
        """`models` come ahead in detect's log; see `pipeline.offline.seating`."""
        detection = load_detection(settings.config_dir, settings.detect, partitions=1)
        catalogue, topology = load_advice(settings.config_dir)
        source = f"{settings.topics.name(Topic.METRICS)}/0"
        self._detect = DetectStage(
            detection, input_topic=settings.topics.name(Topic.SAMPLES), partition=0, sources=[source]
        )
        self._stages: dict[Topic, Stage] = {
            Topic.METRICS: IngestStage(
                settings.ingest, source=source, samples_partitions=1, gap_s=settings.detect.gap_s
            ),
            Topic.CONTROL: ControlStage(samples_partitions=1, frames_partitions=1),
            Topic.SAMPLES: self._detect,
            Topic.FRAMES: AdviseStage(
                settings.advise,
                catalogue,
                topology,
                frame_s=settings.detect.frame_s,
                input_topic=settings.topics.name(Topic.FRAMES),
                partition=0,
                sources=1,
            ),
        }
        self._names = {topic: settings.topics.name(topic) for topic in Topic}
        self._offsets = dict.fromkeys(Topic, 0)
        self._detect.step([self._record(output) for output in models])

    def publish(self, messages: Iterable[Output]) -> Iterator[Output]:
        """Append these messages to their topics' logs; all that they cause, stage by stage."""
        by_topic: dict[Topic, list[LogRecord]] = {}
        for message in messages:
            by_topic.setdefault(message.topic, []).append(self._record(message))
        for topic, records in by_topic.items():
            stage = self._stages.get(topic)
            if stage is None:
                continue
            outputs = stage.step(records)
            yield from outputs
            yield from self.publish(outputs)

    def finish(self) -> Iterator[Output]:
        """Close the frames that are still open at the end of the data."""
        yield from self.publish(self._detect.tick(self._detect.until_frame_closes()))

    def statistics(self) -> dict[str, float]:
        """The stages' counts, put together."""
        return {name: value for stage in self._stages.values() for name, value in stage.statistics().items()}

    def _record(self, message: Output) -> LogRecord:
        offset = self._offsets[message.topic]
        self._offsets[message.topic] = offset + 1
        return LogRecord(
            topic=self._names[message.topic],
            partition=0,
            offset=offset,
            timestamp=message.timestamp,
            key=message.key,
            value=message.value,
            headers=message.headers,
        )
