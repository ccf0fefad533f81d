"""The catalogue's checks: each mistake is named with its file and line."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.advise import load_advice
from pipeline.advise.frames import Frame, SignalValue, Source
from pipeline.advise.rules.catalogue import load_catalogue
from pipeline.advise.rules.drafting import provenance
from pipeline.advise.rules.expressions import Evaluator, compile_expression, references
from pipeline.advise.rules.facts import Facts
from pipeline.advise.rules.judge import Judge, Place, shown
from pipeline.advise.rules.rule import fill, placeholders
from pipeline.advise.ruletests import run_tests
from pipeline.cli.catalogue import catalogue as command
from pipeline.configfile import shipped_config
from pipeline.detect.stage import MODEL_VERSION
from pipeline.errors import SettingsError
from pipeline.signals.definitions import load_definitions
from tests.advise.helpers import SLOW, Fault, Story, at, shipped

if TYPE_CHECKING:
    from pathlib import Path

DEFINITIONS = load_definitions(shipped_config())
RULE = """\
settings: {app.pool_size: {unit: "1", default: 20}}
rules:
  - id: one
    version: "1"
    title: One
    finding: ONE
    kind: one
    category: tuning
    target: {component: application}
    tier: mechanism
    prior: 0.9
    when:
      - signals["http.rps"] > 10.0
    evidence: [http.rps]
    reason: "{service} is busy at {recommended}"
    change:
      parameter: size
      current: settings["app.pool_size"]
      recommended: settings["app.pool_size"] * 2.0
    commands:
      - {via: env, run: "SIZE={recommended}"}
    restart_required: true
    effect: {signal: http.rps, text: more, basis: experience}
    risk: low
    undo:
      - {via: env, run: "SIZE={current}"}
    verification:
      signal: http.rps
      condition: signals["http.rps"] < 10.0
      after_s: 60
"""


def written(folder: Path, text: str, name: str = "rules.yaml") -> Path:
    """A folder with this rules file."""
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def line_with(text: str, part: str) -> int:
    """Number of the first line that contains the part."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


def test_shipped_catalogue_is_in_order() -> None:
    """What is shipped loads, with the guide's knobs in it."""
    catalogue, topology = load_advice(shipped_config())
    knobs = {entry.rule.change.parameter for entry in catalogue.rules}
    assert knobs >= {
        "pool_size", "max_overflow", "cache", "handlers", "index", "work_mem", "shared_buffers", "max_connections",
        "maxmemory", "maxmemory-policy", "appendfsync", "appendonly", "tcp-keepalive", "timeout", "cpu_limit",
        "memory_limit", "process", "replicas", "version",
    }  # fmt: skip
    assert topology.services
    assert set(catalogue.trend_signals()) <= set(catalogue.history_signals())


def test_own_catalogue(tmp_path: Path) -> None:
    """A folder with one rule of one's own is a catalogue."""
    assert [entry.rule.id for entry in load_catalogue(written(tmp_path, RULE), DEFINITIONS).rules] == ["one"]


def test_units_are_those_of_the_definitions() -> None:
    """What signals.yaml says of a signal is not said again; every settings gauge of it is known."""
    definitions = load_definitions(shipped_config())
    catalogue, _ = load_advice(shipped_config())
    assert catalogue.signals == {name: signal.unit for name, signal in definitions.signals.items()}
    assert catalogue.settings.keys() == definitions.settings.keys()
    assert catalogue.settings["app.pool_size"].default == 20


def test_own_signals_are_those_beside_the_folder(tmp_path: Path) -> None:
    """A rule may speak of a signal that one's own signals.yaml defines."""
    shutil.copy(shipped_config() / "signals.yaml", tmp_path)
    text = (tmp_path / "signals.yaml").read_text(encoding="utf-8")
    (tmp_path / "signals.yaml").write_text(text.replace("  http.rps:\n", "  own.rps:\n"), encoding="utf-8")
    (tmp_path / "catalogue").mkdir()
    written(tmp_path / "catalogue", RULE)
    with pytest.raises(SettingsError, match=r"rules\.yaml:\d+: rule one: unknown signal 'http\.rps'"):
        load_catalogue(tmp_path / "catalogue", load_definitions(tmp_path))
    written(tmp_path / "catalogue", RULE.replace("http.rps", "own.rps"))
    assert load_catalogue(tmp_path / "catalogue", load_definitions(tmp_path)).signals["own.rps"] == "1/s"


def test_a_rule_does_not_see_the_values_of_the_one_before(tmp_path: Path) -> None:
    """Where a rule's present value is not known, the last rule's does not stand in for it."""
    first = RULE.replace("    commands:", "    values: {twice: current * 2.0}\n    commands:")
    second = first[first.index("  - id: one") :].replace("id: one", "id: two")
    second = second.replace('current: settings["app.pool_size"]', 'current: before["http.rps"]')
    catalogue = load_catalogue(written(tmp_path, first + second), DEFINITIONS)
    frame = Frame("duri_core", at(0), at(1), {"http.rps": SignalValue(20.0)}, {}, Source("duri.samples", 0, 7))
    facts = Facts("duri_core", frame, {"app.pool_size": 20.0}, frozenset(), {}, {}, {})
    one, two = Judge(catalogue).matches(facts, Place(is_cause=True, certainty=1.0))
    assert (one.values["twice"], one.values["current"]) == ("40", "20")
    assert (two.values["twice"], two.values["current"]) == ("unknown", "unknown")
    assert provenance(one).model_version == MODEL_VERSION


MISTAKES: list[tuple[str, str, str]] = [
    ('signals["http.rps"] > 10.0\n', 'signals["http.rps"] >\n', "not a CEL expression"),
    ('signals["http.rps"] > 10.0\n', 'signals["http.rpm"] > 10.0\n', "unknown signal 'http.rpm'"),
    ('signals["http.rps"] > 10.0\n', 'signals["http.rps"] * 2 > 10.0\n', "numbers need a decimal point"),
    ('signals["http.rps"] > 10.0\n', 'signals["http.rps"] * 2.0\n', "gives a float; expected a truth value"),
    ('signals["http.rps"] > 10.0\n', "load > 10.0\n", "Undefined variable"),
    ('signals["http.rps"] > 10.0\n', "settings['redis.timeoot'] > 10.0\n", "did you mean redis.timeout?"),
    ('signals["http.rps"] > 10.0\n', "signals['http.rpm'] > 10.0\n", "unknown signal 'http.rpm'"),
    ('signals["http.rps"] > 10.0\n', "true && 'http.rpm' in rising\n", "unknown signal 'http.rpm'"),
    ('signals["http.rps"] > 10.0\n', 'settings["redis." + "timeoot"] > 10.0\n', "asks for 'redis.timeoot'"),
    ("settings: {app.pool_size", "settings: {app.pol_size", "unknown settings gauge 'app.pol_size'"),
    ("settings: {", "baseline: {http.rpm: 1.0}\nsettings: {", "unknown signal 'http.rpm'"),
    ("settings: {", "signals: {own: s}\nsettings: {", "signals: Extra inputs are not permitted"),
    ("prior: 0.9", "prior: .nan", "finite number"),
    ('settings["app.pool_size"] * 2.0\n', "1.0 > 2.0\n", "gives a bool; expected a number or text"),
    ('current: settings["app.pool_size"]', 'current: settings["app.pool"]', "unknown settings gauge 'app.pool'"),
    ('run: "SIZE={recommended}"', 'run: "SIZE={better}"', "nothing fills {better}"),
    ("    commands:", "    units: {age: s}\n    commands:", "a unit of no value"),
    ("risk: low", "risk: none", "'low', 'medium' or 'high'"),
    ("finding: ONE", "finding: one", "String should match pattern"),
    ("evidence: [http.rps]", "evidence: [http.latency]", "unknown signal or settings gauge 'http.latency'"),
    ("effect: {signal: http.rps", "effect: {signal: http.rpm", "unknown signal 'http.rpm'"),
    ("evidence: [http.rps]", "evidence: [http.rps]\n    unless: [busier]", "unknown look-alike 'busier'"),
    ("parameter: size", "parameter: size\n      lowers: limit", "may only be lowered where"),
    (
        "      after_s: 60",
        "      after_s: 60\n    tests: [{rising: [http.rpm]}]",
        "unknown signal or settings gauge 'http.rpm'",
    ),
    ("      after_s: 60", "      after_s: 60\n    tests: [{expect: last}]", "'first', 'proposed' or 'absent'"),
    ("settings: {", "forecasts: {http.rpm: {limit: 1, horizon_s: 9}}\nsettings: {", "unknown signal 'http.rpm'"),
    ('signals["http.rps"] > 10.0\n', 'until["http.rps"] > 10.0\n', "nothing says when 'http.rps' runs out"),
    ("    tier: mechanism", "    teir: mechanism", "Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("right", "wrong", "message"), MISTAKES)
def test_mistake_is_named_with_its_line(tmp_path: Path, right: str, wrong: str, message: str) -> None:
    """File, line and what was expected."""
    assert right in RULE
    text = RULE.replace(right, wrong)
    with pytest.raises(SettingsError) as caught:
        load_catalogue(written(tmp_path, text), DEFINITIONS)
    place = line_with(text, wrong.strip().splitlines()[0])
    lines = [line for line in str(caught.value).splitlines() if message in line]
    assert lines
    number = int(lines[0].removeprefix(f"{tmp_path / 'rules.yaml'}:").split(":")[0])
    assert place - 1 <= number <= place + 1


def test_repeated_id_names_both_places(tmp_path: Path) -> None:
    """The same id in two files is a mistake in the second."""
    written(tmp_path, RULE, "a.yaml")
    written(tmp_path, RULE, "b.yaml")
    with pytest.raises(SettingsError, match=r"b\.yaml:3: rule one: this id is taken in .*a\.yaml"):
        load_catalogue(tmp_path, DEFINITIONS)


def test_empty_folder_is_a_mistake(tmp_path: Path) -> None:
    """No rules at all is not meant."""
    with pytest.raises(SettingsError, match=r"holds no \*\.yaml"):
        load_catalogue(tmp_path, DEFINITIONS)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Two mistakes, two lines."""
    text = RULE.replace('"SIZE={recommended}"', '"{a}"').replace('"SIZE={current}"', '"{b}"')
    with pytest.raises(SettingsError) as caught:
        load_catalogue(written(tmp_path, text), DEFINITIONS)
    assert len(str(caught.value).splitlines()) == 2


# --- expressions and templates --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('signals["none"] > 1.0', None),
        ('signals["none"] > 1.0 || true', True),
        ('signals["none"] > 1.0 && false', False),
        ('signals["a"] / 0.0', None),
        ('math.ceil(signals["a"])', 2.0),
        ('"text"', "text"),
        ("3", 3.0),
        ("[1.0]", None),
    ],
)
def test_missing_data_is_not_known(text: str, expected: Any) -> None:
    """Errors behave as CEL defines, and what stays an error, or is no finite number, is no value."""
    evaluator = Evaluator()
    evaluator.load({"signals": {"a": 1.5}})
    assert evaluator.value(compile_expression(text)) == expected


def test_references_are_found() -> None:
    """What an expression asks for, maps and lists alike."""
    found = references("""signals["a.b"] > usual['c'] && "d" in rising || 'e' in falling && settings[ "f" ] > 1.0""")
    assert found == {("signals", "a.b"), ("usual", "c"), ("rising", "d"), ("falling", "e"), ("settings", "f")}


def test_templates_leave_other_braces_alone() -> None:
    """JSON in a command needs no escaping."""
    text = '{"spec": {"replicas": {recommended}}}'
    assert placeholders(text) == {"recommended"}
    assert fill(text, {"recommended": "3"}) == '{"spec": {"replicas": 3}}'


@pytest.mark.parametrize(
    ("value", "text"), [(20.0, "20"), (0.25, "0.25"), ("on", "on"), (None, "unknown"), (1e9, "1000000000")]
)
def test_values_in_commands(value: Any, text: str) -> None:
    """Whole numbers have no decimal point."""
    assert shown(value) == text


# --- the command ----------------------------------------------------------------------------------------------


def test_list_as_json() -> None:
    """`duri catalogue list --json` has one object a rule."""
    result = CliRunner().invoke(command, ["list", "--json"])
    assert {entry["id"] for entry in json.loads(result.stdout)} == {e.rule.id for e in shipped()[0].rules}


def test_list_for_people() -> None:
    """`duri catalogue list` prints them for people, on a narrow terminal too: finding and knob."""
    shown = CliRunner().invoke(command, ["list"], env={"COLUMNS": "80"}).stdout
    assert "…" not in shown
    for rule in (entry.rule for entry in shipped()[0].rules):
        assert all(word in shown for word in (rule.id, rule.finding, rule.change.parameter))


def test_show() -> None:
    """`duri catalogue show` prints the whole rule, as YAML or JSON."""
    as_yaml = yaml.safe_load(CliRunner().invoke(command, ["show", "pg-work-mem"]).stdout)
    as_json = json.loads(CliRunner().invoke(command, ["show", "pg-work-mem", "--json"]).stdout)
    assert as_yaml == as_json
    assert as_json["change"]["parameter"] == "work_mem"


def test_show_of_an_unknown_rule_suggests() -> None:
    """A misspelt id is an error of use, with a suggestion."""
    result = CliRunner().invoke(command, ["show", "pg-workmem"])
    assert result.exit_code == 2
    assert "pg-work-mem" in result.output


def test_check(tmp_path: Path) -> None:
    """`duri catalogue check` says how many rules are in order, and raises what main() turns into exit status 2."""
    assert "rules are in order" in CliRunner().invoke(command, ["check"]).stdout
    shutil.copytree(shipped_config() / "catalogue", tmp_path / "rules")
    assert CliRunner().invoke(command, ["check", str(tmp_path / "rules")]).exit_code == 0
    written(tmp_path, RULE.replace("risk: low", "risk: none"))
    result = CliRunner().invoke(command, ["check", str(tmp_path)])
    assert isinstance(result.exception, SettingsError)
    assert result.exception.exit_status == 2


def test_check_runs_the_tests_of_ones_own_rules(tmp_path: Path) -> None:
    """A rule that does not find what its test describes is a mistake with the test's line."""
    tested = (
        RULE + "    tests:\n      - {signals: {http.rps: 20}, rising: [http.rps]}\n      - {signals: {http.rps: 5}}\n"
    )
    result = CliRunner().invoke(command, ["check", str(written(tmp_path, tested))])
    assert isinstance(result.exception, SettingsError)
    place = f"{tmp_path / 'rules.yaml'}:{line_with(tested, 'http.rps: 5')}"
    assert str(result.exception) == f"{place}: rule one: test 'finds its fault': it is not proposed (proposed: none)"
    assert CliRunner().invoke(command, ["check", str(tmp_path), "--no-tests"]).exit_code == 0


@pytest.mark.parametrize(
    ("test", "told"),
    [
        ({"expect": "absent"}, "it is proposed, and should not be (proposed: one)"),
        ({"recommended": 30}, "it recommends 40.0, and should 30.0"),
        ({"recommended": 40}, ""),
        ({"stopped_by": {"http.rps": 5}}, "it has no abort_if"),
    ],
)
def test_what_a_rules_test_may_expect(tmp_path: Path, test: dict[str, Any], told: str) -> None:
    """Absent, or a value: and what is said where it comes out otherwise."""
    own = {"signals": {"http.rps": 20}, "rising": ["http.rps"], **test}
    catalogue = load_catalogue(written(tmp_path, f"{RULE}    tests: [{json.dumps(own)}]\n"), DEFINITIONS)
    _, failures = run_tests(catalogue)
    assert [failure.text for failure in failures] == ([f"test 'finds its fault': {told}"] if told else [])


@pytest.mark.parametrize(
    ("abort_if", "told"),
    [
        ('signals["http.rps"] < 10.0', ""),
        ('signals["http.rps"] < 1.0', "its abort_if does not hold then, and should"),
        ('signals["http.rps"] < 25.0', "its abort_if holds in the trouble, and should not"),
    ],
)
def test_a_rules_test_may_say_what_stops_the_change(tmp_path: Path, abort_if: str, told: str) -> None:
    """What the change brings about, and the trouble that it is to mend does not."""
    own = {"signals": {"http.rps": 20}, "rising": ["http.rps"], "stopped_by": {"http.rps": 5}}
    text = RULE.replace("after_s:", f"abort_if: '{abort_if}'\n      after_s:")
    assert text != RULE
    catalogue = load_catalogue(written(tmp_path, f"{text}    tests: [{json.dumps(own)}]\n"), DEFINITIONS)
    _, failures = run_tests(catalogue)
    assert [failure.text for failure in failures] == ([f"test 'finds its fault': {told}"] if told else [])


# --- try and stats ----------------------------------------------------------------------------------------------


def recorded(path: Path) -> Path:
    """Frames of a service that is healthy, then out of connections, as one would consume them."""
    fault = Fault({**SLOW, "app.pool.utilisation": 1.0, "app.pool.acquire.p95": 0.2}, rising=["http.latency.p95"])
    log = Story().healthy(40).deploy().troubled(5, {"duri_core": fault}).take()
    path.write_bytes(b"\n".join(record.value or b"" for record in log))
    return path


def test_try_shows_what_would_have_been_recommended(tmp_path: Path) -> None:
    """Recorded frames in, recommendations out, for people and as JSON; one's own rules where they are named."""
    path = recorded(tmp_path / "frames.jsonl")
    shown = CliRunner().invoke(command, ["try", "--frames", str(path)], env={"COLUMNS": "250"})
    assert "app-pool-size" in shown.stdout
    assert "45 frames of 1 services" in shown.stdout
    lines = CliRunner().invoke(command, ["try", "--frames", str(path), "--json"]).stdout.splitlines()
    assert json.loads(lines[0])["provenance"]["rule"] == "app-pool-size"
    (tmp_path / "rules").mkdir()
    own = ["try", "--frames", str(path), "--rules", str(written(tmp_path / "rules", RULE)), "--json"]
    assert json.loads(CliRunner().invoke(command, own).stdout.splitlines()[0])["provenance"]["rule"] == "one"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no frame"),
        ('{"x": 1}', "frames.jsonl:1: is neither"),
        ("\n{", "frames.jsonl:2: is no JSON"),
        ('{"signals": {}}', "frames.jsonl:1: service: Field required"),
    ],
)
def test_try_names_the_line_that_cannot_be_read(tmp_path: Path, text: str, told: str) -> None:
    """File, line and what is wrong."""
    (tmp_path / "frames.jsonl").write_text(text, encoding="utf-8")
    result = CliRunner().invoke(command, ["try", "--frames", str(tmp_path / "frames.jsonl")])
    assert told in str(result.exception)


def test_stats_of_outcomes(tmp_path: Path) -> None:
    """By rule and result, with the hit rate of what was judged; what is no outcome is passed over."""
    common = {"id": "o", "recommendation": "r", "at": "2026-03-02T00:00:00Z", "signal": "s", "before": 1, "after": 2}
    results = ["verified", "verified", "no_effect", "regressed", "rejected"]
    lines = [json.dumps({**common, "rule": "one", "result": result}) for result in results]
    lines += ["nonsense", json.dumps({**common, "rule": "two", "result": "expired"})]
    path = tmp_path / "outcomes.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    counted = json.loads(CliRunner().invoke(command, ["stats", "--outcomes", str(path), "--json"]).stdout)
    assert (counted["one"]["verified"], counted["one"]["hit_rate"]) == (2, 0.5)
    assert counted["two"]["hit_rate"] is None
    shown = CliRunner().invoke(command, ["stats", "--outcomes", str(path)], env={"COLUMNS": "80"}).stdout
    assert "hit rate 50 %" in shown
    assert "verified 2, no effect 1, regressed 1, rejected 1" in shown
    assert max(map(len, shown.splitlines())) <= 80
