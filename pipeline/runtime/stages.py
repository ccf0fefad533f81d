"""The three stages as a worker runs them: what each reads and writes, and how one is made for a partition."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pipeline.advise import load_advice
from pipeline.advise.stage import AdviseStage, history_slots
from pipeline.configfile import nearest
from pipeline.detect.configuration import load_detection
from pipeline.detect.stage import DetectStage
from pipeline.errors import SettingsError
from pipeline.ingest.control import ControlStage
from pipeline.ingest.formats.registry import AUTO, FORMATS
from pipeline.ingest.stage import IngestStage
from pipeline.registry.artefact import warm
from pipeline.registry.courier import RegistryCourier
from pipeline.runtime.model_terms import admission_terms
from pipeline.runtime.rehearsal import rehearse_advise, rehearse_detect, rehearse_ingest
from pipeline.runtime.spec import StageSpec
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiokafka import TopicPartition

    from pipeline.settings import Settings
    from pipeline.stage import Stage

STAGES = ("ingest", "detect", "advise")


def build_specs(settings: Settings, names: Sequence[str] = STAGES) -> list[StageSpec]:
    """The named stages. Raises SettingsError for a wrong name or configuration file."""
    makers = {"ingest": _ingest, "detect": _detect, "advise": _advise}
    unknown = [name for name in names if name not in makers]
    if unknown:
        raise SettingsError(f"no stage is called {unknown[0]!r}; there are {', '.join(STAGES)}")
    return [makers[name](settings) for name in names]


def _topics(settings: Settings) -> Mapping[Topic, str]:
    return {topic: settings.topics.name(topic) for topic in Topic}


def _ingest(settings: Settings) -> StageSpec:
    topics = settings.topics
    control = topics.name(Topic.CONTROL)
    formats = {topics.name(Topic.METRICS): topics.metrics_format, **topics.extra_inputs}
    _check_format("topics.metrics_format", topics.metrics_format)
    for topic, name in topics.extra_inputs.items():
        _check_format(f"topics.extra_inputs.{topic}", name)
    courier = RegistryCourier(settings.models.registry, admission_terms(settings))

    def make(source: TopicPartition) -> Stage:
        if source.topic == control:
            return ControlStage(
                samples_partitions=topics.samples_partitions,
                frames_partitions=topics.frames_partitions,
                courier=courier,
            )
        return IngestStage(
            settings.ingest,
            source=f"{source.topic}/{source.partition}",
            samples_partitions=topics.samples_partitions,
            topic_format=formats[source.topic],
            gap_s=settings.detect.gap_s,
        )

    return StageSpec(
        name="ingest",
        inputs=(*formats, control),
        factory=make,
        outputs=_topics(settings),
        rehearse=partial(rehearse_ingest, settings.ingest),
    )


def _check_format(key: str, name: str) -> None:
    """The settings lie below ingest and do not know its formats, so their names are checked here."""
    known = (AUTO, *(entry.name for entry in FORMATS))
    if name not in known:
        raise SettingsError(
            f"{key}: {name!r} is no format; expected {', '.join(known[:-1])} or {known[-1]}{nearest(name, known)}"
        )


def _detect(settings: Settings) -> StageSpec:
    topics = settings.topics
    metrics = topics.name(Topic.METRICS)
    configuration = load_detection(settings.config_dir, settings.detect, partitions=topics.samples_partitions)
    courier = RegistryCourier(settings.models.registry, admission_terms(settings))

    def make(source: TopicPartition) -> Stage:
        if courier.has_models():
            warm()
        return DetectStage(
            configuration,
            input_topic=source.topic,
            partition=source.partition,
            frames_partitions=topics.frames_partitions,
            sources=[f"{metrics}/{partition}" for partition in range(topics.metrics_partitions)],
        )

    return StageSpec(
        name="detect",
        inputs=(topics.name(Topic.SAMPLES),),
        factory=make,
        outputs=_topics(settings),
        rehearse=partial(rehearse_detect, configuration),
    )


def _advise(settings: Settings) -> StageSpec:
    catalogue, topology = load_advice(settings.config_dir)
    history_slots(settings.advise, settings.detect.frame_s)  # a wrong length is told at the start

    def make(source: TopicPartition) -> Stage:
        return AdviseStage(
            settings.advise,
            catalogue,
            topology,
            frame_s=settings.detect.frame_s,
            input_topic=source.topic,
            partition=source.partition,
            sources=settings.topics.samples_partitions,
        )

    return StageSpec(
        name="advise",
        inputs=(settings.topics.name(Topic.FRAMES),),
        factory=make,
        outputs=_topics(settings),
        rehearse=rehearse_advise,
    )
