"""A dataset in Apache Spark; runs where PySpark and a Java are installed, which the product does not need."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from pipeline.offline import Dataset
from pipeline.offline.dataset.tables import Table
from tests.offline.dataset import flowed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession


@pytest.fixture
def spark() -> Iterator[SparkSession]:
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415
    except ImportError:
        pytest.skip("PySpark is not installed: pip install 'pyspark>=4.3'")
    if shutil.which("java") is None:
        pytest.skip("Spark needs a Java on the path; the broker's runtime lacks a module that it wants")
    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    session = (
        builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1").getOrCreate()
    )
    yield session
    session.stop()


@pytest.mark.slow
def test_spark_reads_the_folder_as_it_is(spark: SparkSession, tmp_path: Path) -> None:
    """Samples and frames: as many rows, the same sums by service, and the day from the folders' names."""
    flowed.store(tmp_path / "data", flowed.history("spark-", "127.0.0.1:1", 1))
    dataset = Dataset(tmp_path / "data")
    for table in (Table.SAMPLES, Table.FRAMES):
        found = spark.read.parquet(f"{tmp_path}/data/{table}").groupBy("service").agg({"value": "sum", "*": "count"})
        here = dataset.read(table, columns=["service", "value"]).groupby("service", observed=True)["value"]
        rows = {row["service"]: row for row in found.collect()}
        assert {name: row["count(1)"] for name, row in rows.items()} == here.size().to_dict()
        expected = here.sum().to_dict()
        assert {name: row["sum(value)"] for name, row in rows.items()} == pytest.approx(expected)
    days = [row["day"] for row in spark.read.parquet(f"{tmp_path}/data/samples").select("day").distinct().collect()]
    assert days == [pd.Timestamp(dataset.span.start, unit="ms").date()]
