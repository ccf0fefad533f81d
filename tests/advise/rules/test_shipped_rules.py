"""What every shipped rule has, and that the guide's knobs each have one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.advise.rules.expressions import Evaluator
from pipeline.advise.rules.facts import sample_variables
from pipeline.advise.rules.rule import fill, placeholders
from pipeline.cli.catalogue import catalogue as command
from tests.advise.helpers import shipped

if TYPE_CHECKING:
    from pipeline.advise.rules.rule import Rule

RULES: dict[str, Rule] = {entry.rule.id: entry.rule for entry in shipped()[0].rules}
DOCS = Path(__file__).parents[3] / "docs" / "advisor.md"
KNOBS = {
    "asynchronous handlers": "to_thread",
    **{name: f"{name}=" for name in ("pool_size", "max_overflow", "pool_pre_ping", "pool_recycle")},
    "in-process caching": "TTLCache",
    "Redis caching": "CACHE_ENABLED|TTL",
    "indexes": "CREATE INDEX CONCURRENTLY",
    **{name: f"ALTER SYSTEM SET {name} " for name in ("max_connections", "shared_buffers", "effective_cache_size")},
    **{name: f"ALTER SYSTEM SET {name} " for name in ("work_mem", "maintenance_work_mem")},
    "query plans": "EXPLAIN",
    **{name: f"CONFIG SET {name} " for name in ("maxmemory", "maxmemory-policy", "save", "appendfsync")},
    **{name: f"CONFIG SET {name} " for name in ("tcp-keepalive", "timeout")},
    "append-only file": "CONFIG SET appendonly yes",
    "CPU limit": "limits.cpus",
    "memory limit": "limits.memory",
    "CPU reservation": "reservations.cpus",
    "memory reservation": "reservations.memory",
    "Python optimisation flags": "PYTHONOPTIMIZE=",
    "network": "GZipMiddleware",
    "storage": "iostat",
    "load balancing": "least_conn",
    "autoscaling": "maxReplicas",
}
"""What the guide names under its tuning knobs, each with what turns it, or shows where to."""
SERVER_SETTINGS = {
    rule.id for rule in RULES.values() if any("duri-" in one.run and ".command:" in one.run for one in rule.commands)
}


def knob_table() -> dict[str, list[str]]:
    """Rules by knob, as the documentation lists them."""
    rows = re.findall(r"^\| ([^|]+) \| ((?:`[a-z0-9-]+`(?:, )?)+) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    return {knob.strip("`"): re.findall(r"`([^`]+)`", rules) for knob, rules in rows}


def test_each_knob_of_the_guide_has_a_rule() -> None:
    """The table of the documentation has them all, and no rule that there is not."""
    table = knob_table()
    assert table.keys() == KNOBS.keys()
    assert {rule for rules in table.values() for rule in rules} <= RULES.keys()


@pytest.mark.parametrize(("knob", "rules"), sorted(knob_table().items()))
def test_a_rule_turns_the_knob_that_it_is_listed_for(knob: str, rules: list[str]) -> None:
    """One of its commands does."""
    for rule in rules:
        assert any(re.search(KNOBS[knob], one.run) for one in RULES[rule].commands), rule


def test_no_reason_to_abort_holds_where_all_is_well() -> None:
    """It speaks of a state that the change may bring about, not of what is usual."""
    catalogue, evaluator = shipped()[0], Evaluator()
    evaluator.load(sample_variables(catalogue.signals, catalogue.settings))
    evaluator.load({"signals": dict(catalogue.healthy), "before": dict(catalogue.healthy)})
    guarded = [entry for entry in catalogue.rules if entry.abort_if is not None]
    assert all(evaluator.value(entry.abort_if) is False for entry in guarded)


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_a_patch_is_what_kubectl_reads(rule: Rule) -> None:
    """JSON, or YAML, between quotes."""
    for one in (*rule.commands, *rule.undo):
        for patch in re.findall(r"--patch '(.*?)'", one.run):
            assert yaml.safe_load(fill(patch, dict.fromkeys(placeholders(patch), "7")))


def test_the_table_of_metrics_is_the_catalogues() -> None:
    """`docs/metrics-to-advice.md` ends with what `duri catalogue needs --markdown` prints."""
    printed = CliRunner().invoke(command, ["needs", "--markdown"]).stdout
    assert DOCS.with_name("metrics-to-advice.md").read_text(encoding="utf-8").endswith(printed)


def test_every_rule_is_led_to_by_a_metric() -> None:
    """For people and for programs alike."""
    found = json.loads(CliRunner().invoke(command, ["needs", "--json"]).stdout)
    assert {rule for need in found for rule in need["asked_by"]} == RULES.keys()
    [pool] = [need for need in found if need["name"] == "app.pool_size"]
    assert (pool["metrics"], pool["assumed"]) == (["db_pool_size"], 20.0)
    shown = CliRunner().invoke(command, ["needs"]).stdout
    assert "db_pool_size; 20 is assumed where nobody publishes it" in " ".join(shown.split())


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_each_says_what_must_be_so_before(rule: Rule) -> None:
    """A prerequisite, a test of its own, a page to read, and a way back."""
    assert rule.prerequisites
    assert rule.tests
    assert rule.links
    assert rule.undo


@pytest.mark.parametrize("rule", sorted(SERVER_SETTINGS))
def test_a_servers_setting_is_said_for_compose_and_for_kubernetes(rule: str) -> None:
    """Both ways, and both ways back; a compose file's command replaces all options, so the others are to be kept."""
    for commands in (RULES[rule].commands, RULES[rule].undo):
        assert any(one.via == "kubernetes" and re.search(r"(configmap|statefulset)/duri-", one.run) for one in commands)
        replacing = [one.run for one in commands if ".command:" in one.run]
        assert replacing
        assert all("keep the options that are there" in run for run in replacing)


def test_the_documentation_says_what_is_different_about_newer_versions() -> None:
    """What was learned of an earlier version is forgotten then: each rule beyond its first one has a line."""
    text = DOCS.read_text(encoding="utf-8")
    _, _, table = text.partition("what is different since version 1")
    told = re.findall(r"`([a-z0-9-]+)`", re.split(r"\n\n", table, maxsplit=1)[0])
    assert sorted(told) == sorted(rule.id for rule in RULES.values() if rule.version != "1")
