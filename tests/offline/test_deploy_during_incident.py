from __future__ import annotations

import json

from pipeline.settings import load_settings
from pipeline.sources.duri_faults import BadDeploy, PoolExhausted
from pipeline.sources.duri_system import DuriSystem, Plan
from pipeline.stage import Topic
from tests.offline.flows import changes, local, metrics


def test_a_deploy_of_a_service_that_joins_an_incident_late_is_its_cause() -> None:
    """While one service's trouble stands, a bad deploy of its neighbour is rolled back, not merely investigated."""
    pool = PoolExhausted(service="duri_core", start_s=1800, rise_s=900, duration_s=6000)
    deploy = BadDeploy(service="duri_evolution", start_s=6000, duration_s=2400)
    system = DuriSystem(Plan(days=1, faults=(pool, deploy)))
    outputs = local(load_settings(), [*changes(system), *metrics(system, 2.7, 60.0)])
    advice = [json.loads(output.value) for output in outputs if output.topic is Topic.RECOMMENDATIONS]
    assert ("duri_evolution", "deployment.rollback") in {(one["target"]["service"], one["kind"]) for one in advice}
