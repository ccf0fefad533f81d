"""The settings of a worker: `config/duri.yaml`, then environment variables `DURI_…`, then command-line options.

Each tunable is declared once, in the file of its section, with its unit, bounds and meaning; help, schema and docs
come from it. Secrets may be given as the path of a file (`…_file`) and never appear in logs or errors.
"""

from __future__ import annotations

from pipeline.settings.advise import AdviseSettings
from pipeline.settings.detect import DetectSettings, MultivariateSection
from pipeline.settings.ingest import IngestSettings
from pipeline.settings.kafka import KafkaSettings
from pipeline.settings.loading import load_settings
from pipeline.settings.models import ModelSettings
from pipeline.settings.runtime import Guarantee, RuntimeSettings
from pipeline.settings.section import Section
from pipeline.settings.topics import TopicSettings
from pipeline.settings.whole import ENVIRONMENT_PREFIX, Settings

__all__ = [
    "ENVIRONMENT_PREFIX",
    "AdviseSettings",
    "DetectSettings",
    "Guarantee",
    "IngestSettings",
    "KafkaSettings",
    "ModelSettings",
    "MultivariateSection",
    "RuntimeSettings",
    "Section",
    "Settings",
    "TopicSettings",
    "load_settings",
]
