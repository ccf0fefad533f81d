"""Clusters that offline work is spread over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from distributed import LocalCluster

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def dask() -> Iterator[str]:
    """Address of a cluster of two worker processes."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="session")
def ray() -> Iterator[str]:
    """Address of a Ray cluster of two nodes with a worker process each."""
    try:
        from ray.cluster_utils import Cluster  # noqa: PLC0415
    except ImportError:
        pytest.skip("Ray is not installed: pip install -e '.[ray]'")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()
