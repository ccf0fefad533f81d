from __future__ import annotations

import time
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from pipeline.errors import SettingsError
from pipeline.series import Kind
from pipeline.sources.columnar import Block
from pipeline.sources.duri_faults import BadDeploy, MemoryLeak, PoolExhausted
from pipeline.sources.duri_system import DuriSystem, Plan
from pipeline.sources.lanes import lane_of

STEP_S = 30.0
DAY = 2880
"""Scrapes."""


@pytest.fixture(scope="module")
def system() -> DuriSystem:
    return DuriSystem(Plan())


@pytest.fixture(scope="module")
def healthy() -> DuriSystem:
    return DuriSystem(Plan(faults=()))


def column(system: DuriSystem, service: str, name: str, **labels: str) -> np.ndarray:
    """The one column of this name with these labels."""
    block = next(block for block in system.services if block.key == service)
    found = [
        place
        for place, series in enumerate(block.series)
        if series.name == name and labels.items() <= series.labels.items()
    ]
    assert len(found) == 1, (name, labels, len(found))
    return block.value[:, found[0]]


def rate(counter: np.ndarray) -> np.ndarray:
    return np.diff(counter) / STEP_S


def latency_quantile(system: DuriSystem, service: str, q: float) -> np.ndarray:
    """Quantile (seconds) of the requests of each five minutes, as histogram_quantile estimates it."""
    block = next(block for block in system.services if block.key == service)
    bounds, counts = [], []
    for place, series in enumerate(block.series):
        if series.name == "http_request_duration_seconds_bucket":
            bounds.append(float(series.labels["le"]))
            counts.append(block.value[::10, place])
    grown = np.diff(np.stack(counts, axis=1), axis=0)
    result = np.full(len(grown), np.nan)
    for row, cumulative in enumerate(grown):
        if (cumulative < 0).any():
            continue  # a restart
        wanted = q * cumulative[-1]
        place = int(np.searchsorted(cumulative, wanted))
        low, below = (bounds[place - 1], cumulative[place - 1]) if place else (0.0, 0.0)
        result[row] = low + (bounds[place] - low) * (wanted - below) / (cumulative[place] - below)
    return result


def half_hours(values: np.ndarray) -> np.ndarray:
    whole = len(values) // 60 * 60
    return values[:whole].reshape(-1, 60).mean(axis=1)


SERVICES = ["duri_core", "duri_control", "duri_brain", "duri_evolution"]


@pytest.mark.parametrize("service", SERVICES)
class TestHealthy:
    def test_latency_stays_within_the_guides_baseline(self, healthy, service):
        """p95 200 ms and p99 500 ms are the guide's baseline; five minutes of a healthy day never leave it."""
        assert np.nanmax(latency_quantile(healthy, service, 0.95)) < 0.2
        assert np.nanmax(latency_quantile(healthy, service, 0.99)) < 0.5

    def test_traffic_stays_between_100_and_190(self, healthy, service):
        """No half hour falls below the guide's objective, no scrape below the static rule."""
        rps = rate(column(healthy, service, "http_request_duration_seconds_count"))
        assert half_hours(rps).min() > 105
        assert rps.min() > 90
        assert rps.max() < 190

    def test_resources_stay_below_the_baseline(self, healthy, service):
        """CPU below 50 % over any half hour, memory below 60 %."""
        cpu = rate(column(healthy, service, "container_cpu_usage_seconds_total")) / 2.0
        assert half_hours(cpu).max() < 0.5
        assert cpu.max() < 0.6
        memory = column(healthy, service, "container_memory_usage_bytes") / (1 << 30)
        assert memory.max() < 0.6
        assert memory.min() > 0.5

    def test_errors_stay_below_the_baseline(self, healthy, service):
        """Fewer than one request in a thousand fails over any half hour."""
        failed = sum(
            rate(column(healthy, service, "http_requests_total", endpoint=endpoint, status="500"))
            for endpoint in ("/health", "/status")
        )
        rps = rate(column(healthy, service, "http_request_duration_seconds_count"))
        assert (half_hours(failed) / half_hours(rps)).max() < 0.001

    def test_every_counter_only_grows(self, healthy, service):
        """Without a restart, counters and buckets never fall."""
        block = next(block for block in healthy.services if block.key == service)
        for place, series in enumerate(block.series):
            if series.kind is not Kind.GAUGE:
                assert (np.diff(block.value[:, place]) >= 0).all(), series.name

    def test_buckets_are_cumulative_and_end_in_the_count(self, healthy, service):
        """Each bucket holds the one before it, and +Inf holds all requests."""
        for name in ("http_request_duration_seconds", "db_pool_acquire_seconds"):
            block = next(block for block in healthy.services if block.key == service)
            buckets = [
                block.value[:, place] for place, series in enumerate(block.series) if series.name == f"{name}_bucket"
            ]
            assert (np.diff(np.stack(buckets), axis=0) >= 0).all()
            assert (buckets[-1] == column(healthy, service, f"{name}_count")).all()


def test_series_are_those_of_the_guide(system):
    """A sample of names, labels and limits, as exporters write them."""
    block = system.services[0]
    by_name = {series.name for series in block.series}
    assert {"node_memory_MemAvailable_bytes", "pg_stat_activity_count", "redis_keyspace_hits_total"} <= by_name
    bounds = [one.labels["le"] for one in block.series if one.name == "http_request_duration_seconds_bucket"]
    assert bounds[0] == "0.005"
    assert bounds[-4:] == ["2.5", "5", "10", "+Inf"]
    assert {"0.1", "0.25", "0.5", "1", "2.5", "5", "10"} <= set(bounds)
    assert column(system, "duri_core", "db_pool_size")[0] == 20
    assert column(system, "duri_core", "redis_memory_max_bytes")[0] == 512 << 20
    assert len({series.identity() for one in system.services for series in one.series}) == system.series


def test_same_seed_same_samples():
    """A plan decides every sample; another seed gives others."""
    first, again, other = (DuriSystem(Plan(seed=seed)) for seed in (7, 7, 8))
    for one, two in zip(first.services, again.services, strict=True):
        np.testing.assert_array_equal(one.value, two.value)
    assert not np.array_equal(first.services[0].value, other.services[0].value, equal_nan=True)


def test_a_fault_leaves_other_services_alone(healthy):
    """Each service has random numbers of its own, and a fault turns the knobs of one service only."""
    system = DuriSystem(Plan(faults=(MemoryLeak(service="duri_evolution", start_s=3600.0),)))
    for with_fault, without in zip(system.services[:3], healthy.services[:3], strict=True):
        np.testing.assert_array_equal(with_fault.value, without.value)


def test_two_days_of_four_services_take_less_than_three_seconds():
    """The demo cannot wait for its data."""
    began = time.perf_counter()
    assert DuriSystem(Plan()).samples > 1_900_000
    assert time.perf_counter() - began < 3.0


@pytest.mark.parametrize("lanes", [1, 4])
def test_blocks_are_in_order_of_time_and_complete(system, lanes):
    """Every sample is in exactly one block, and each block of a lane begins after the one before it."""
    newest: dict[str, int] = {}
    samples = 0
    for block in system.blocks(3600.0, lanes=lanes):
        assert block.ts[0] > newest.get(block.key, 0)
        newest[block.key] = int(block.ts[-1])
        samples += block.samples
        assert {lane_of(series.service, lanes) for series in block.series} == {int(block.key)}
    assert samples == system.samples


class TestFaults:
    def test_truth_is_on_the_last_day_and_apart(self, system):
        """Four faults on four services, one after the other, all on day two."""
        truth = system.truth()
        assert {one.kind for one in truth} == {"cache_evicting", "bad_deploy", "pool_exhausted", "memory_leak"}
        assert len({one.service for one in truth}) == 4
        assert truth[0].start >= system.plan.start + timedelta(days=1)
        assert all(before.end <= after.start for before, after in pairwise(truth))

    def test_pool_fills_long_before_latency_crosses_the_static_threshold(self, system):
        """In-use doubles within ten minutes of the onset; p95 needs more than half an hour to 500 ms."""
        onset = DAY + 13 * 120
        in_use = column(system, "duri_core", "db_pool_connections_in_use")
        before = in_use[onset - 60 : onset].mean()
        assert in_use[onset + 20 : onset + 30].mean() > 2 * before
        p95 = latency_quantile(system, "duri_core", 0.95)
        crossed = np.flatnonzero(p95[onset // 10 :] > 0.5)[0] * 5
        assert 30 <= crossed <= 50
        assert in_use[onset + 100 : onset + 175].min() >= 49
        assert rate(column(system, "duri_core", "db_pool_timeouts_total"))[onset + 110 : onset + 170].mean() > 1

    def test_pool_recovers_when_mended(self, system):
        """Ten minutes after the end all is as before."""
        end = DAY + 13 * 120 + 180
        assert latency_quantile(system, "duri_core", 0.95)[end // 10 + 2 :].max() < 0.2

    def test_cache_fills_evicts_and_misses(self, system):
        """Memory reaches its limit, evictions start, the hit ratio falls to 0.4, latency crosses 500 ms late."""
        onset = DAY + 5 * 120
        fault = slice(onset, onset + 360)
        assert column(system, "duri_brain", "redis_memory_used_bytes")[fault].max() > 0.99 * (512 << 20)
        evicted = rate(column(system, "duri_brain", "redis_evicted_keys_total"))
        assert evicted[:onset].max() == 0
        assert evicted[onset + 300] > 100
        hits, misses = (
            rate(column(system, "duri_brain", f"redis_keyspace_{what}_total"))[onset + 300 : onset + 350]
            for what in ("hits", "misses")
        )
        assert 0.35 < hits.sum() / (hits + misses).sum() < 0.45
        crossed = np.flatnonzero(latency_quantile(system, "duri_brain", 0.95)[onset // 10 :] > 0.5)[0] * 5
        assert 60 <= crossed <= 120

    def test_leak_ends_in_a_restart_that_resets_the_process_counters_only(self, system):
        """Memory passes 95 % of its limit; then the container's counters begin again, the node's go on."""
        end = DAY + 16 * 120 + 224
        memory = column(system, "duri_evolution", "container_memory_usage_bytes") / (1 << 30)
        assert memory[end - 1] > 0.95
        assert memory[end] < 0.6
        falls = [
            series.name
            for place, series in enumerate(system.services[3].series)
            if series.kind is not Kind.GAUGE and (np.diff(system.services[3].value[:, place]) < 0).any()
        ]
        assert "http_requests_total" in falls
        assert "container_cpu_usage_seconds_total" in falls
        assert not [name for name in falls if name.startswith(("node_", "pg_", "redis_"))]

    def test_deploy_is_announced_and_changes_the_version(self, system):
        """Two change events; while the new version runs it alone has an app_info series."""
        deploy, rollback = system.changes()
        assert (deploy.version, rollback.version) == ("1.5.0", "1.4.2")
        assert deploy.service == "duri_control"
        new = column(system, "duri_control", "app_info", version="1.5.0")
        old = column(system, "duri_control", "app_info", version="1.4.2")
        assert (np.isnan(new) ^ np.isnan(old)).all()
        assert np.count_nonzero(~np.isnan(new)) == 150

    def test_deploy_slows_and_fails(self, system):
        """After the roll-out p95 is above 500 ms and 2 to 5 % of requests fail."""
        onset = DAY + round(9.5 * 120)
        p95 = latency_quantile(system, "duri_control", 0.95)[onset // 10 + 3 : onset // 10 + 14]
        assert p95.min() > 0.5
        during = slice(onset + 30, onset + 140)
        failed = rate(column(system, "duri_control", "http_requests_total", endpoint="/health", status="500"))[during]
        fine = rate(column(system, "duri_control", "http_requests_total", endpoint="/health", status="200"))[during]
        assert 0.02 < failed.sum() / (failed + fine).sum() < 0.05

    def test_faults_can_be_chosen(self):
        """Times, services and magnitudes are the caller's; the truth follows."""
        fault = PoolExhausted(service="duri_brain", start_s=7200.0, duration_s=3600.0, rise_s=600.0)
        system = DuriSystem(Plan(days=1, faults=(fault,)))
        (truth,) = system.truth()
        assert truth.service == "duri_brain"
        assert truth.start == system.plan.start + timedelta(hours=2)
        in_use = column(system, "duri_brain", "db_pool_connections_in_use")
        assert in_use[270:350].mean() > 3 * in_use[100:230].mean()

    def test_fault_on_an_unknown_service_is_refused(self):
        """The message names the service and the choices."""
        with pytest.raises(SettingsError, match=r"'nobody'.*duri_brain"):
            Plan(faults=(MemoryLeak(service="nobody", start_s=0.0),))

    def test_kinds_say_what_is_right(self):
        """Every fault names the kinds of recommendation that mend it."""
        assert BadDeploy.expected
        assert all(one.expected for one in DuriSystem(Plan()).truth())


@pytest.mark.parametrize("wrong", [{"days": 0}, {"step_s": 0.0}])
def test_impossible_plans_are_refused(wrong):
    """No days or no step is a mistake."""
    with pytest.raises(SettingsError):
        Plan(**wrong)


def test_block_counts_only_samples_that_are_there():
    """NaN is no sample."""
    block = Block("s", (), np.arange(2, dtype=np.int64), np.array([[1.0, np.nan], [2.0, 3.0]]))
    assert block.samples == 3
