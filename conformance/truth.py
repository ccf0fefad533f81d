"""What must arrive, told from what producers were given, without our decoders."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Labels = frozenset[tuple[str, str]]


class Sample(NamedTuple):
    """One sample of a series."""

    name: str
    labels: Labels
    ts: int
    value: float
    kind: str = ""


def labels_of(labels: Mapping[str, str], service: str) -> Labels:
    """Labels as they arrive: with the service."""
    return frozenset({**labels, "service": service}.items())


# --- Telegraf -------------------------------------------------------------------------------------------------


def telegraf(
    lines: Iterable[str], types: Mapping[str, str] = MappingProxyType({}), service: str = "shop-1"
) -> Iterator[Sample]:
    """A sample for each numeric field of what Telegraf's own file output wrote (JSON, times in ns).

    `types` of a format that says them: see `prometheus_types`.
    """
    for line in lines:
        metric = json.loads(line)
        labels = labels_of(metric["tags"], service)
        for field, value in metric["fields"].items():
            if isinstance(value, int | float):
                name = f"{metric['name']}_{field}"
                yield Sample(name, labels, metric["timestamp"] // 1_000_000, float(value), kind(name, types))


def prometheus_types(text: str) -> dict[str, str]:
    """What `# TYPE` says of each name."""
    words = [line.split() for line in text.splitlines() if line.startswith("# TYPE ")]
    return {name: type_of for _, _, name, type_of in words}


def kind(name: str, types: Mapping[str, str]) -> str:
    """Kind of a series: its type where it has one, else by the conventions for names of Prometheus."""
    if types.get(name) in ("counter", "gauge"):
        return types[name]
    return "counter" if name.endswith(("_total", "_count", "_sum")) else "gauge"


# --- OpenTelemetry --------------------------------------------------------------------------------------------

_DELTA = 1


def otlp(request: Mapping[str, Any], service: str) -> Iterator[Sample]:
    """The samples of an OTLP/JSON request by the rules of docs/formats.md; "no value" is NaN.

    Buckets of exponential histograms are left out: see `exponential_below`.
    """
    for resource in request["resourceMetrics"]:
        for scope in resource["scopeMetrics"]:
            around = {
                **{f"otel.scope.{name}": text for name, text in _attributes(scope["scope"]["attributes"]).items()},
                "otel.scope.name": scope["scope"]["name"],
                **_attributes(resource["resource"]["attributes"]),
            }
            for metric in scope["metrics"]:
                yield from _metric(metric, around, service)


def _metric(metric: Mapping[str, Any], around: Mapping[str, str], service: str) -> Iterator[Sample]:
    (data,) = metric.keys() - {"name", "unit"}
    body = metric[data]
    delta = body.get("aggregationTemporality") == _DELTA
    for point in body["dataPoints"]:
        labels = {**around, **_attributes(point["attributes"])}
        ts = int(point["timeUnixNano"]) // 1_000_000
        for suffix, more, kind, value in _values(data, body, point, delta):
            yield Sample(metric["name"] + suffix, labels_of({**labels, **more}, service), ts, value, kind)


def _values(
    data: str, body: Mapping[str, Any], point: Mapping[str, Any], delta: bool
) -> Iterator[tuple[str, dict[str, str], str, float]]:
    count = "delta" if delta else "counter"
    if data == "gauge":
        yield "", {}, "gauge", _number(point)
    elif data == "sum":
        yield "", {}, "delta" if delta else "counter" if body["isMonotonic"] else "gauge", _number(point)
    else:
        yield "_count", {}, count, float(point["count"])
        yield "_sum", {}, count, point["sum"]
    if data == "summary":
        for one in point["quantileValues"]:
            yield "", {"quantile": f"{one['quantile']:g}"}, "gauge", one["value"]
    if data == "histogram":
        below = 0
        bounds = [f"{bound:g}" for bound in point["explicitBounds"]]
        for bound, number in zip([*bounds, "+Inf"], point["bucketCounts"], strict=True):
            below += int(number)
            yield "_bucket", {"le": bound}, "delta_bucket" if delta else "bucket", float(below)


def _number(point: Mapping[str, Any]) -> float:
    if point.get("flags", 0) & 1:
        return float("nan")
    return float(point["asInt"]) if "asInt" in point else point["asDouble"]


def _attributes(attributes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {one["key"]: _text(one["value"]) for one in attributes}


def _text(value: Mapping[str, Any]) -> str:
    ((_, held),) = value.items()
    return str(held).lower() if isinstance(held, bool) else str(held)


def exponential_below(point: Mapping[str, Any], bound: float) -> int:
    """How many values of an exponential histogram's point are at most `bound`, one of its bucket bounds.

    Bucket i of scale s holds what lies in (b^i, b^(i+1)] with b = 2^(2^-s) (opentelemetry-proto, metrics.proto).
    """
    base = 2.0**2.0 ** -point["scale"]
    below = 0
    for place, number in enumerate(point["negative"]["bucketCounts"]):
        least_negative = -(base ** (point["negative"]["offset"] + place))
        below += int(number) * (least_negative <= bound)
    below += int(point["zeroCount"]) * (bound >= 0)
    for place, number in enumerate(point["positive"]["bucketCounts"]):
        most = base ** (point["positive"]["offset"] + place + 1)
        below += int(number) * (most <= bound * (1 + 1e-9))
    return below


# --- Prometheus -----------------------------------------------------------------------------------------------


def scraped(pages: Iterable[str]) -> dict[tuple[str, Labels], list[float]]:
    """The values of each series on a page, in the order of the scrapes; NaN left out."""
    found: dict[tuple[str, Labels], list[float]] = {}
    for page in pages:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.value == sample.value:
                    key = (sample.name, frozenset({**sample.labels}.items()))
                    found.setdefault(key, []).append(sample.value)
    return found
