"""`duri retrain` over days of the generated system: what it has trained goes into the shadow, and live, by itself.

Nothing is put into the registry, told of the shadow, or forced: frames come through Kafka, the gate judges what the
training has measured, and the shadow is that of detect, which goes on with the days that follow.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.ingest.control import ControlStage
from pipeline.offline.dataset.reading import Dataset
from pipeline.offline.flow import LocalFlow
from pipeline.records import cloudevent_headers, to_ms
from pipeline.registry.courier import RegistryCourier
from pipeline.registry.pointers import PointerLog, control_record
from pipeline.registry.store import Store
from pipeline.runtime.model_terms import admission_terms
from pipeline.settings import load_settings
from pipeline.sources.columnar import COLUMNAR_CONTENT_TYPE, encode_columnar
from pipeline.sources.duri_system import DuriSystem, Plan
from pipeline.stage import LogRecord, Output, Topic
from tests.installation import duri
from tests.offline.dataset import flowed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.registry.pointers import Move
    from pipeline.sources.columnar import Block

NAME = "services-pca"
COLUMNAR = (("content-type", COLUMNAR_CONTENT_TYPE.encode()),)


class Site:
    """A healthy system whose samples flow through the stages; Kafka holds the frames, and what detect says of models.

    docs/demo-data.md has the formulas of the system.
    """

    def __init__(self, kafka: str, place: Path) -> None:
        self.config = place / "duri.yaml"
        sections = {
            "kafka": {"bootstrap": kafka},
            "topics": {"prefix": flowed.new_prefix(), "samples_partitions": 2},
            "models": {"registry": str(place / "registry")},
        }
        self.config.write_text(json.dumps(sections), encoding="utf-8")
        self.settings = load_settings(self.config)
        flowed.create(self.settings)
        self._flow = LocalFlow(self.settings)
        system = DuriSystem(Plan(days=8, step_s=60.0, faults=()))
        self._blocks: Iterator[Block] = system.blocks(1800.0)

    def go_on(self, days: float) -> None:
        """The samples of so many more days."""
        found: list[Output] = []
        for block in islice(self._blocks, round(days * 48)):
            message = Output(Topic.METRICS, encode_columnar(block), int(block.ts[-1]), headers=COLUMNAR)
            found += self._flow.publish([message])
        flowed.publish(self.settings, [one for one in found if one.topic in (Topic.FRAMES, Topic.CONTROL)])

    def hear(self, move: Move) -> None:
        """Let the stages take a move, as `ingest` hands it on."""
        courier = RegistryCourier(self.settings.models.registry, admission_terms(self.settings))
        record = control_record(move)
        headers = cloudevent_headers(record.event_type(), "/test", record.id, to_ms(record.at))
        said = LogRecord(Topic.CONTROL, 0, 0, to_ms(record.at), None, record.model_dump_json().encode(), headers)
        control = ControlStage(samples_partitions=1, frames_partitions=1, courier=courier)
        list(self._flow.publish([one for one in control.step([said]) if one.topic is Topic.SAMPLES]))


def retrain(config: Path, data: Path) -> dict[str, Any]:
    """As cron runs it; nobody but the test hands moves on, so nobody's answer is waited for."""
    done = duri("retrain", "pca", "--data", data, "--config", config, "--wait", "0", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_six_days_teach_becomes_live(kafka: str, tmp_path: Path) -> None:
    """Export, train, evaluate, shadow; half a day there is too little; after more than a day it is live."""
    site, data = Site(kafka, tmp_path), tmp_path / "data"
    log = PointerLog(Store(site.settings.models.registry), NAME)
    site.go_on(6)
    first = retrain(site.config, data)
    assert (first["outcome"], first["reasons"]) == ("shadowed", [])
    version = first["version"]
    assert Store(site.settings.models.registry).manifest(NAME, version).training.dataset == Dataset(data).fingerprint
    site.hear(log.moves()[-1])
    site.go_on(0.5)
    waiting = retrain(site.config, data)
    assert (waiting["outcome"], waiting["version"]) == ("waiting", version)
    assert "24 h are wanted" in waiting["reasons"][0]
    site.go_on(0.75)
    assert retrain(site.config, data) == {"model": NAME, "outcome": "promoted", "version": version, "reasons": []}
    assert log.pointers().live == version
    assert not any(move.forced for move in log.moves())
