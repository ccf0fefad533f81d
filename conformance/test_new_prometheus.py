"""A real Prometheus 3, whose native histograms of custom bounds are read back as the page that was scraped."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

from conformance import producers, programs, truth
from conformance.record_remote_write import Page
from pipeline.sources.prometheus import PrometheusReader, Server
from tests.prometheus_server import exporter

if TYPE_CHECKING:
    from pathlib import Path

_SCRAPES = 8


def test_native_histograms_are_the_page_that_was_scraped(tmp_path: Path) -> None:
    """Every count, sum and bucket of each scrape, in order, and every other finite value."""
    page = Page()
    port = producers.free_port()
    with exporter(page) as target:
        config = tmp_path / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s, convert_classic_histograms_to_nhcb: true}\n"
            f"scrape_configs: [{{job_name: shop, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        server = subprocess.Popen(
            [
                str(programs.new_prometheus()), f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/data",
                f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=native-histograms",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            producers.wait_for(f"127.0.0.1:{port}")
            ends = time.monotonic() + 60
            while len(page.scrapes) < _SCRAPES:
                assert time.monotonic() < ends, "Prometheus does not scrape"
                time.sleep(0.2)
            time.sleep(1)  # the last is stored
            reader = PrometheusReader(Server(f"http://127.0.0.1:{port}"), ['{job="shop"}'], lambda _: "shop")
            now = reader.now_ms()
            recording = reader.read(now - 60_000, now)
        finally:
            server.terminate()
            server.wait(20)
    found: dict[tuple[str, truth.Labels], list[float]] = {}
    for index, value in zip(recording.index, recording.value, strict=True):
        series = recording.series[index]
        labels = {name: text for name, text in series.labels.items() if name not in ("job", "instance", "service")}
        found.setdefault((series.name, frozenset(labels.items())), []).append(value)
    for key, values in truth.scraped(page.scrapes).items():
        assert len(found[key]) >= min(_SCRAPES, len(values)) - 1
        assert found[key] == values[: len(found[key])]
