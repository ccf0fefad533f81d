"""Whether everything that a worker needs is there: files first, then the broker, each check with what to do next.

Nothing is changed: the one transaction that is tried is aborted, so no reader of committed records sees it.
"""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import ApiVersionRequest

from pipeline.advise.incidents.topology import load_topology
from pipeline.advise.rules.catalogue import load_catalogue
from pipeline.configfile import shipped_config
from pipeline.detect.configuration import load_detection
from pipeline.errors import REACH_A_BROKER, BrokerError, BrokerUnavailableError, DuriError, SettingsError
from pipeline.runtime import clients
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.permissions import Probe, Refusal, try_reading, try_writing
from pipeline.runtime.topology import describe_topics
from pipeline.settings import Guarantee, load_settings
from pipeline.signals.definitions import load_definitions
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pipeline.runtime.topology import TopicStatus
    from pipeline.settings import Settings

MAX_CLOCK_DIFFERENCE_S = 5.0

_WAIT_S = 5.0
_TRANSACTION_APIS = {22: "InitProducerId", 24: "AddPartitionsToTxn", 25: "AddOffsetsToTxn", 26: "EndTxn"}
_AFTER_SETTINGS = ("signals", "thresholds", "catalogue", "topology", "broker")
_AFTER_BROKER = ("transactions", "topics", "write", "read", "clock")


class Verdict(enum.StrEnum):
    """Outcome of one check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was found, and what to do about it where it is not well."""

    check: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def all_good(findings: list[Finding]) -> bool:
    """Whether a worker can be started: warnings do not keep it from working."""
    return all(finding.verdict in {Verdict.OK, Verdict.WARNING} for finding in findings)


async def diagnose(config: Path | None, overrides: Mapping[str, Any]) -> list[Finding]:
    """All checks in order; what rests on something that failed is skipped. Raises nothing of ours."""
    path = config or shipped_config() / "duri.yaml"
    try:
        settings = load_settings(config, overrides=dict(overrides))
    except SettingsError as error:
        remedy = "correct the file, variable or option that it names; `duri schema settings` lists all keys"
        skipped = _skipped((*_AFTER_SETTINGS, *_AFTER_BROKER), "settings")
        return [Finding("settings", Verdict.FAILED, str(error), remedy), *skipped]
    return [Finding("settings", Verdict.OK, str(path)), *_files(settings), *await _broker(settings)]


def _skipped(checks: tuple[str, ...], why: str) -> list[Finding]:
    return [_skip(check, why) for check in checks]


def _skip(check: str, why: str) -> Finding:
    return Finding(check, Verdict.SKIPPED, f"needs {why}")


# --- files ----------------------------------------------------------------------------------------------------


def _files(settings: Settings) -> list[Finding]:
    folder = settings.config_dir

    def detection() -> str:
        loaded = load_detection(folder, settings.detect, partitions=settings.topics.samples_partitions)
        return f"{len(loaded.thresholds.rules)} rules, time zone {settings.detect.timezone}"

    def catalogue() -> str:
        return f"{len(load_catalogue(folder / 'catalogue', load_definitions(folder)).rules)} rules"

    signals = _file("signals", lambda: f"{len(load_definitions(folder).signals)} signals")
    return [
        signals,
        _file("thresholds", detection) if signals.verdict is Verdict.OK else _skip("thresholds", "signals"),
        _file("catalogue", catalogue),
        _file("topology", lambda: f"{len(load_topology(folder / 'topology.yaml').services)} services"),
    ]


def _file(check: str, load: Callable[[], str]) -> Finding:
    try:
        return Finding(check, Verdict.OK, load())
    except DuriError as error:
        return Finding(
            check, Verdict.FAILED, str(error), "correct what it names (config_dir says which folder is read)"
        )


# --- the broker -----------------------------------------------------------------------------------------------


async def _broker(settings: Settings) -> list[Finding]:
    try:
        async with ClusterAdmin(settings.kafka, wait_s=_WAIT_S) as admin:
            apis = await _apis(settings)
            reached = Finding("broker", Verdict.OK, f"{settings.kafka.bootstrap}, {_spoken(apis)}")
            transactions = _transactions(settings, apis)
            statuses = await describe_topics(admin, settings)
            topics = _topics(settings, statuses, await admin.topics())
            return [reached, transactions, topics, *await _permissions(settings, admin, transactions, statuses)]
    except SettingsError as error:
        failed = Finding("broker", Verdict.FAILED, str(error), "correct the setting that it names")
        return [failed, *_skipped(_AFTER_BROKER, "the broker")]
    except (DuriError, KafkaError, OSError, TimeoutError) as error:
        refused = isinstance(error, BrokerError) and not isinstance(error, BrokerUnavailableError)
        remedy = "correct the setting that it names" if refused else REACH_A_BROKER
        detail = str(error) if isinstance(error, DuriError) else f"{settings.kafka.bootstrap}: {error!r}"
        detail = detail.removesuffix(f"; {REACH_A_BROKER}")  # it stands beside it
        return [Finding("broker", Verdict.FAILED, detail, remedy), *_skipped(_AFTER_BROKER, "the broker")]


async def _apis(settings: Settings) -> dict[int, tuple[int, int]]:
    """What the broker speaks: API key → lowest and highest version."""
    client = AIOKafkaClient(client_id="duri-doctor", **clients.connection(settings.kafka))
    try:
        async with asyncio.timeout(_WAIT_S):
            await client.bootstrap()
            node = client.get_random_node()
            await client.ready(node)
            answer = await client.send(node, ApiVersionRequest())
    finally:
        await client.close()
    return {key: (low, high) for key, low, high, *_ in answer.api_versions}


def _spoken(apis: Mapping[int, tuple[int, int]]) -> str:
    versions = [f"{name} up to v{apis[key][1]}" for key, name in ((0, "Produce"), (1, "Fetch")) if key in apis]
    return f"{len(apis)} APIs ({', '.join(versions)})"


def _transactions(settings: Settings, apis: Mapping[int, tuple[int, int]]) -> Finding:
    missing = [name for key, name in _TRANSACTION_APIS.items() if key not in apis]
    guarantee = settings.runtime.guarantee
    if not missing:
        return Finding("transactions", Verdict.OK, f"supported; runtime.guarantee is {guarantee}")
    detail = f"the broker does not speak {', '.join(missing)}"
    if guarantee is Guarantee.AT_LEAST_ONCE:
        return Finding("transactions", Verdict.OK, f"{detail}; not needed, runtime.guarantee is {guarantee}")
    return Finding("transactions", Verdict.FAILED, detail, "set runtime.guarantee: at_least_once")


def _topics(settings: Settings, statuses: list[TopicStatus], present: Mapping[str, int]) -> Finding:
    missing = [status.planned.name for status in statuses if status.partitions is None]
    foreign = sorted(settings.topics.extra_inputs.keys() - present.keys())
    if missing:
        secured = settings.kafka.security_protocol != "PLAINTEXT"
        hidden = "; if they are there, grant the user Describe on them" if secured else ""
        return Finding("topics", Verdict.FAILED, f"missing: {', '.join(missing)}", f"duri topics create{hidden}")
    if foreign:
        remedy = "create them, or take them out of topics.extra_inputs"
        return Finding("topics", Verdict.FAILED, f"missing: {', '.join(foreign)}", remedy)
    narrow = [
        f"{status.planned.name} has {status.partitions} partitions, the settings say {status.planned.partitions}"
        for status in statuses
        if status.partitions != status.planned.partitions
    ]
    if narrow:
        remedy = "set topics.*_partitions to what the topics have (or make the topics anew)"
        return Finding("topics", Verdict.FAILED, "; ".join(narrow), remedy)
    differing = [
        f"{one.planned.name}: {name} is {found}, not {wanted}"
        for one in statuses
        for name, (wanted, found) in one.differences.items()
    ]
    if differing:
        remedy = "alter the topics' settings where that is not meant"
        return Finding("topics", Verdict.WARNING, "; ".join(differing), remedy)
    return Finding("topics", Verdict.OK, f"{len(statuses)} topics, partitions as set")


async def _permissions(
    settings: Settings, admin: ClusterAdmin, transactions: Finding, statuses: list[TopicStatus]
) -> list[Finding]:
    missing = {status.planned.role for status in statuses if status.partitions is None}
    if missing:
        return _skipped(("write", "read", "clock"), "the topics")
    if transactions.verdict is Verdict.FAILED:
        write, clock = _skip("write", "transactions"), _skip("clock", "transactions")
    elif settings.runtime.guarantee is Guarantee.AT_LEAST_ONCE:
        write, clock = (
            Finding(check, Verdict.OK, "not tried: without transactions it would leave a record")
            for check in ("write", "clock")
        )
    else:
        write, clock = await _write(settings)
    return [write, await _read(settings, admin), clock]


async def _write(settings: Settings) -> tuple[Finding, Finding]:
    probe = await try_writing(settings)
    if isinstance(probe, Refusal):
        return Finding("write", Verdict.FAILED, probe.detail, probe.remedy), _skip("clock", "writing")
    took = f"a transaction on {settings.topics.name(Topic.STATE)}, aborted, took {probe.took_s * 1000:.0f} ms"
    return Finding("write", Verdict.OK, took), _clock(probe)


def _clock(probe: Probe) -> Finding:
    if probe.ahead_s is None:
        remedy = "set message.timestamp.type=LogAppendTime on the dead-letter topic to have it compared"
        return Finding("clock", Verdict.WARNING, "the broker does not stamp records with its own time", remedy)
    detail = f"this machine is {abs(probe.ahead_s):.2f} s {'ahead of' if probe.ahead_s >= 0 else 'behind'} the broker"
    if abs(probe.ahead_s) > MAX_CLOCK_DIFFERENCE_S:
        return Finding("clock", Verdict.WARNING, detail, "synchronise both clocks (NTP)")
    return Finding("clock", Verdict.OK, detail)


async def _read(settings: Settings, admin: ClusterAdmin) -> Finding:
    groups = await try_reading(settings, admin)
    if isinstance(groups, Refusal):
        return Finding("read", Verdict.FAILED, groups.detail, groups.remedy)
    return Finding("read", Verdict.OK, f"topics, and offsets of {', '.join(groups)}")
