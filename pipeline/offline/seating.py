"""Trained models in a backtest: handed to detect as a worker hands them out, at the beginning of its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import SettingsError
from pipeline.ingest.control import ControlStage
from pipeline.records import ModelMove, cloudevent_headers, from_ms
from pipeline.registry.courier import RegistryCourier
from pipeline.registry.pointers import NAMED_VERSION
from pipeline.runtime.model_terms import admission_terms
from pipeline.stage import LogRecord, Output, Topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.settings import Settings


def seated(settings: Settings, named: Sequence[str]) -> list[Output]:
    """Records for detect's log that make these versions (`NAME/VERSION`) live from its first frame on.

    Raises SettingsError where one is not named so, ModelError where it may not run.
    """
    courier = RegistryCourier(settings.models.registry, admission_terms(settings))
    control = ControlStage(samples_partitions=1, frames_partitions=1, courier=courier)
    outputs: list[Output] = []
    for number, one in enumerate(named):
        match = NAMED_VERSION.fullmatch(one)
        if match is None:
            raise SettingsError(
                f"{one!r} is no version of a model; NAME/VERSION is wanted, as `duri models list` shows"
            )
        name, version = match.groups()
        move = ModelMove(id=one, at=from_ms(0), model=name, number=1, action="promote", live=version, by="backtest")
        courier.fetch(move)
        headers = cloudevent_headers(move.event_type(), "/backtest", move.id, 0)
        record = LogRecord(Topic.CONTROL, 0, number, 0, None, move.model_dump_json().encode(), headers)
        outputs += [output for output in control.step([record]) if output.topic is Topic.SAMPLES]
    return outputs
