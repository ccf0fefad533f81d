"""What people start this with: Compose file, image, monitoring, Makefile, constraints. No Docker is needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import typer.main
import yaml
from packaging.requirements import Requirement

from pipeline import cli
from pipeline.runtime.stages import build_specs
from pipeline.runtime.telemetry import Telemetry
from pipeline.settings import ENVIRONMENT_PREFIX, KafkaSettings, RuntimeSettings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import click

ROOT = Path(__file__).parent.parent
COMPOSE = ROOT / "docker-compose.kafka.yml"
METRIC = re.compile(r"\bduri_[a-z_]+")
PORT = re.compile(r"^127\.0\.0\.1:(\d+):(\d+)$")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE.read_text())


@pytest.fixture(scope="module")
def services(compose) -> dict[str, dict[str, Any]]:
    return compose["services"]


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def command() -> click.Group:
    """The whole command line."""
    return typer.main.get_command(cli.command_line())


def set_by(environment: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Our variables, each with the path of the setting it sets."""
    for name in environment:
        if name.startswith(ENVIRONMENT_PREFIX):
            path = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            yield name, ["kafka", "bootstrap"] if path == ["bootstrap"] else path


def image_environment(dockerfile: str) -> dict[str, str]:
    lines = dockerfile.replace("\\\n", " ").splitlines()
    words = [word for line in lines if line.startswith("ENV ") for word in line.split()[1:]]
    return dict(word.split("=", 1) for word in words)


# --- Compose --------------------------------------------------------------------------------------------------


def test_compose_file_fits_the_specification(compose):
    """The file is valid by the Compose Specification's own JSON Schema."""
    schema = json.loads((ROOT / "tests/data/compose-spec/compose-spec.json").read_text())
    errors = [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(compose)]
    assert errors == []


def test_compose_schema_is_able_to_refuse(compose):
    """The check above can fail: a misspelt key is found."""
    schema = json.loads((ROOT / "tests/data/compose-spec/compose-spec.json").read_text())
    wrong = {**compose, "services": {"worker": {"imag": "x"}}}
    assert not jsonschema.Draft202012Validator(schema).is_valid(wrong)


def test_services_that_are_referred_to_exist(compose, services):
    """Every dependency, volume and scrape target is something that the file defines."""
    for service in services.values():
        assert set(service.get("depends_on", ())) <= services.keys()
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith("./") else source in compose["volumes"]
    assert services["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert services["worker"]["depends_on"]["topics"] == {"condition": "service_completed_successfully"}
    assert services["worker"]["deploy"]["replicas"] == 2
    assert services["kafka"]["healthcheck"]["test"]


def test_images_are_pinned(services):
    """Each image of others has an exact version; Kafka is a 4."""
    others = [service["image"] for service in services.values() if "build" not in service]
    assert all(re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", image) for image in others)
    assert services["kafka"]["image"].startswith("apache/kafka:4.")


def test_ports_are_of_this_machine_only_and_differ(services):
    """No port is open to the network, and none is given twice."""
    published = [PORT.match(port) for service in services.values() for port in service.get("ports", ())]
    assert all(published)
    ports = [match[1] for match in published]
    assert len(ports) == len(set(ports))
    assert "ports" not in services["worker"], "two workers cannot share a port of the host"


def test_kafka_listens_where_clients_look(services):
    """The workers' address and the published port are advertised listeners; one node serves all internal topics."""
    environment = services["kafka"]["environment"]
    names = {entry.split("://")[0] for entry in environment["KAFKA_LISTENERS"].split(",")}
    advertised = dict(entry.split("://") for entry in environment["KAFKA_ADVERTISED_LISTENERS"].split(","))
    protocols = dict(entry.split(":") for entry in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert names == protocols.keys() == advertised.keys() | {environment["KAFKA_CONTROLLER_LISTENER_NAMES"]}
    assert services["worker"]["environment"]["DURI_BOOTSTRAP"] == advertised["INTERNAL"]
    assert advertised["EXTERNAL"] == KafkaSettings().bootstrap
    factors = [value for name, value in environment.items() if name.endswith(("REPLICATION_FACTOR", "MIN_ISR"))]
    assert len(factors) == 5
    assert set(factors) == {1}


@pytest.mark.parametrize("service", ["topics", "worker"])
def test_variables_are_settings(services, dockerfile, monkeypatch, service):
    """Each of our variables, the image's included, sets a setting that exists to a value that it takes."""
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
        monkeypatch.delenv(name)
    environment = {**image_environment(dockerfile), **services[service]["environment"]}
    for name, _ in set_by(environment):
        monkeypatch.setenv(name, str(environment[name]))
    settings = load_settings()
    paths = dict(set_by(environment))
    assert paths
    for name, path in paths.items():
        value: Any = settings
        for part in path:
            value = getattr(value, part)
        assert str(value) == str(type(value)(environment[name])), name


def test_the_nightly_job_is_a_command_that_exists(command, monkeypatch):
    """Its arguments are the CLI's, its variables settings, its mounts claims of the file; never two at once."""
    *claims, job = yaml.safe_load_all((ROOT / "deploy/kubernetes/retrain.yaml").read_text())
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    name, *arguments = container["args"]
    parsed = command.commands[name].make_context(name, list(arguments)).params
    places = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    for variable, _ in set_by(environment):
        monkeypatch.setenv(variable, environment[variable])
    assert {str(parsed["data"]), load_settings().models.registry} == places.keys()
    claimed = {volume["name"]: volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]}
    assert set(places.values()) == claimed.keys()
    assert set(claimed.values()) == {claim["metadata"]["name"] for claim in claims}
    assert (ROOT / f"config/training/{parsed['recipe']}.yaml").is_file()


def test_commands_exist(services, dockerfile, command):
    """What Compose and the image start are commands of the CLI."""
    for arguments in (services["topics"]["command"], services["worker"]["command"], ["run"], ["backtest"]):
        found: Any = command
        for argument in arguments:
            found = found.commands[argument]
    assert 'ENTRYPOINT ["duri"]' in dockerfile
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["duri"] == "pipeline.cli:main"


def test_workers_may_finish(services):
    """Docker waits longer than a worker takes to leave in good order."""
    worker = services["worker"]
    patience = float(worker["stop_grace_period"].removesuffix("s"))
    assert patience > float(worker["environment"]["DURI_RUNTIME__SHUTDOWN_S"])


# --- the image ------------------------------------------------------------------------------------------------


def test_image_is_lean_and_not_root(dockerfile):
    """Two stages; the last one installs nothing and runs as a user of its own."""
    final = dockerfile.rpartition("\nFROM ")[2]
    assert dockerfile.count("\nFROM ") == 2
    assert "pip install" not in final
    assert "apt-get" not in final
    assert re.search(r"^USER (?!root)\w+$", final, re.MULTILINE)
    assert f"EXPOSE {RuntimeSettings().http_port}" in final


def test_health_check_is_sound(dockerfile, monkeypatch):
    """The health check is JSON and Python, and asks a path that a worker answers; where nobody answers it fails."""
    arguments = json.loads(re.search(r"^  CMD (\[.+\])$", dockerfile, re.MULTILINE)[1])
    assert "/healthz" in arguments[-1]
    monkeypatch.setenv("DURI_RUNTIME__HTTP_PORT", "1")
    result = subprocess.run([sys.executable, *arguments[1:]], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "refused" in result.stderr


def test_image_gets_what_it_copies():
    """.dockerignore lets everything through that the Dockerfile copies, and it is there."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set()
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            copied.update(line.split()[1:-1])
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


# --- monitoring -----------------------------------------------------------------------------------------------


class Held:
    """A partition as telemetry sees it, with the statistics of a fresh stage."""

    place = ("topic", 0)
    lag = 0

    def __init__(self, name: str, statistics: Mapping[str, float]) -> None:
        self.stage_name = name
        self.statistics = statistics


def known_metrics() -> set[str]:
    """Names of all metrics: the worker's, those of fresh stages, and those that stages begin to count later."""
    from aiokafka import TopicPartition  # noqa: PLC0415  only here

    held = [
        Held(spec.name, spec.factory(TopicPartition(spec.inputs[0], 0)).statistics())
        for spec in build_specs(load_settings())
    ]
    telemetry = Telemetry(held)
    for touch in (telemetry.failed, telemetry.ticked, telemetry.rebalanced):
        touch("ingest")
    telemetry.stepped("ingest", 1, 0.1)
    telemetry.committed("ingest", 1, 0.1)
    shown = {line.split("{")[0].split(" ")[0] for line in telemetry.exposition().decode().splitlines()}
    sources = "\n".join(path.read_text() for path in (ROOT / "pipeline").glob("*/*.py"))
    later = re.findall(r"""_counts\[f?['"]([a-z_]+_total)\b""", sources)
    return shown | {f"duri_{name}" for name in later}


def test_dashboard_shows_metrics_that_exist():
    """Every metric that the dashboard asks for is one that a worker gives."""
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/duri.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for expression in expressions for name in METRIC.findall(expression)}
    assert len(asked) >= 10
    assert asked - known_metrics() == set()


def test_prometheus_scrapes_the_workers(services):
    """Target, port and path are the workers'."""
    configuration = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())
    (job,) = configuration["scrape_configs"]
    (discovery,) = job["dns_sd_configs"]
    assert set(discovery["names"]) <= services.keys()
    assert str(discovery["port"]) in services["worker"]["expose"]
    assert str(discovery["port"]) == services["worker"]["environment"]["DURI_RUNTIME__HTTP_PORT"]
    assert job["metrics_path"] == "/metrics"


def test_grafana_is_provisioned(services):
    """Grafana finds its dashboards where they are mounted, and the data source that they name."""
    folder = ROOT / "deploy/grafana/provisioning"
    (provider,) = yaml.safe_load((folder / "dashboards/duri.yml").read_text())["providers"]
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    mounts = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounts
    assert source["url"].startswith("http://prometheus:")
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/duri.json").read_text())
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}


# --- the checkout ---------------------------------------------------------------------------------------------


def constraints() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.]+", line) for line in lines)
    return {re.sub(r"[-_.]+", "-", name).lower(): pin for name, pin in (line.split("==") for line in lines)}


def test_constraints_hold_every_requirement():
    """Each direct requirement has an exact version within its bounds, and so has what these need."""
    pins = constraints()
    for text in distribution("duri-pipeline").requires or ():
        requirement = Requirement(text)
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": "dev"}):
            continue
        assert requirement.specifier.contains(pins[name]), text
        for further in distribution(requirement.name).requires or ():
            needed = Requirement(further)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert re.sub(r"[-_.]+", "-", needed.name).lower() in pins, f"{text} needs {needed.name}"


def test_tests_run_with_the_constrained_versions():
    """What is tested is what people install."""
    pins = constraints()
    assert {name: version(name) for name in ("numpy", "aiokafka", "pydantic", "numba")} == {
        name: pins[name] for name in ("numpy", "aiokafka", "pydantic", "numba")
    }


def test_make_explains_itself():
    """`make` alone lists every target with a line about it."""
    output = subprocess.run(["make", "-C", ROOT, "-s"], capture_output=True, text=True, check=True).stdout
    targets = {"setup", "demo", "test", "lint", "bench", "kafka-up", "kafka-down", "clean"}
    listed = dict(re.findall(r"^  make ([a-z-]+) +(.+)$", output, re.MULTILINE))
    assert targets <= listed.keys()
    assert all(listed[target] for target in targets)


def test_make_says_which_python_is_missing(tmp_path):
    """Without a fitting Python the error says what to install."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    result = subprocess.run(
        ["make", "-C", tmp_path, "setup", "PYTHON=/nowhere/python3"], capture_output=True, text=True, check=False
    )
    assert result.returncode != 0
    assert "install python3.11" in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_ci_script_is_sound():
    """.ci/run can be executed, is valid bash, and lints before it tests."""
    path = ROOT / ".ci/run"
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", path], check=True)
    lines = path.read_text().splitlines()
    assert lines.index("make lint") < lines.index("make test")
    assert lines[-1] == "make test"
