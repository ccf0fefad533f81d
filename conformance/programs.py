"""The real producers, built from their published modules into `build/producers` (the first time takes minutes)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COLLECTOR_VERSION = "v0.155.0"
TELEGRAF_VERSION = "v1.37.2"
VMAGENT_VERSION = "v1.151.0"
PROMETHEUS_VERSION = "v0.305.0"
"""Of the Go module; the program calls itself 3.5.0."""

FOLDER = Path(__file__).parent.parent / "build" / "producers"

_COLLECTOR_MANIFEST = f"""\
dist:
  name: otelcol
  output_path: ./out
exporters:
  - gomod: github.com/open-telemetry/opentelemetry-collector-contrib/exporter/kafkaexporter {COLLECTOR_VERSION}
receivers:
  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver {COLLECTOR_VERSION}
processors:
  - gomod: go.opentelemetry.io/collector/processor/batchprocessor {COLLECTOR_VERSION}
"""
_TELEGRAF_TAGS = (
    "custom,inputs.cpu,inputs.mem,inputs.net,inputs.disk,inputs.diskio,inputs.docker,inputs.postgresql,inputs.redis,"
    "inputs.statsd,outputs.kafka,outputs.file,"
    "serializers.influx,serializers.json,serializers.prometheus,serializers.prometheusremotewrite"
)


class MissingProgramError(Exception):
    """A producer cannot be had here; the message says what to install."""


def collector() -> Path:
    """OpenTelemetry Collector with `otlp` receiver, `batch` processor and `kafka` exporter."""
    program = FOLDER / f"otelcol-{COLLECTOR_VERSION}"
    if not program.exists():
        folder = FOLDER / "collector"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.yaml").write_text(_COLLECTOR_MANIFEST)
        builder = f"go.opentelemetry.io/collector/cmd/builder@{COLLECTOR_VERSION}"
        _go(["run", builder, "--config", "manifest.yaml"], folder)
        (folder / "out" / "otelcol").rename(program)
    return program


def telegraf() -> Path:
    """Telegraf with the inputs and serializers that are tried here."""
    program = FOLDER / f"telegraf-{TELEGRAF_VERSION}"
    if not program.exists():
        source = _source("github.com/influxdata/telegraf", TELEGRAF_VERSION)
        _go(["build", "-tags", _TELEGRAF_TAGS, "-o", str(program), "./cmd/telegraf"], source)
    return program


def vmagent() -> Path:
    """The agent of VictoriaMetrics."""
    program = FOLDER / f"vmagent-{VMAGENT_VERSION}"
    if not program.exists():
        source = _source("github.com/VictoriaMetrics/VictoriaMetrics", VMAGENT_VERSION)
        _go(["build", "-o", str(program), "./app/vmagent"], source)
    return program


def new_prometheus() -> Path:
    """A Prometheus server of the third generation, which speaks remote write 2.0."""
    program = FOLDER / f"prometheus-{PROMETHEUS_VERSION}"
    if not program.exists():
        source = _source("github.com/prometheus/prometheus", PROMETHEUS_VERSION)
        _go(["build", "-tags", "netgo", "-o", str(program), "./cmd/prometheus"], source)
    return program


def prometheus() -> Path:
    """The Prometheus server of the system."""
    return of_debian("prometheus")


def of_debian(name: str) -> Path:
    """A program of the system, of Debian's package of that name."""
    found = shutil.which(name)
    if found is None:
        raise MissingProgramError(f"there is no {name}; on Debian and Ubuntu: apt-get install {name}")
    return Path(found)


def _source(module: str, version: str) -> Path:
    """A copy of the module's source that may be built in: the module cache is read-only."""
    told = _go(["mod", "download", "-json", f"{module}@{version}"], FOLDER.parent)
    copy = FOLDER / "source" / f"{module.rpartition('/')[2]}-{version}"
    if not copy.exists():
        shutil.copytree(json.loads(told)["Dir"], copy)
        for path in (copy, *copy.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)
    return copy


def _go(arguments: Sequence[str], folder: Path) -> str:
    go = shutil.which("go")
    if go is None:
        raise MissingProgramError("there is no Go to build the producers with; install it (go.dev/dl) and try again")
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [go, *arguments], cwd=folder, env=os.environ | {"CGO_ENABLED": "0"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise MissingProgramError(f"go {' '.join(arguments)} failed in {folder}:\n{done.stderr[-2000:]}")
    return done.stdout
