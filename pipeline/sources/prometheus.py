"""Reading a Prometheus server: the very samples that it holds, with their own times.

A range selector in an instant query gives raw samples (a range query would give values resampled to its steps). What
the server knows of a metric's type decides the kind of its series; where it knows none, the name does.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from pipeline.errors import SourceError, SourceUnavailableError
from pipeline.series import SERVICE_LABEL, Kind, Series, kind_of_name, unit_of_name
from pipeline.sources.native_histograms import as_buckets
from pipeline.sources.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

Answer = TypeVar("Answer")

EVERYTHING = '{__name__=~".+"}'

_ANSWER_S = 120.0
_MOST_SERIES = 500_000
"""Series that are remembered; then all are made anew."""
_STATUS = re.compile(r"HTTP Status Code (\d+)")
_BUSY = {408, 425, 429, 500, 502, 503, 504}
_TOO_MUCH = 422
_PARTS = ("_bucket", "_sum", "_count", "_total")
_KINDS = {"counter": Kind.COUNTER, "gauge": Kind.GAUGE, "gaugehistogram": Kind.GAUGE, "summary": Kind.GAUGE}


class TooMuchError(SourceError):
    """The server would have to load more samples for this query than it is set to."""


class Server(NamedTuple):
    """How a Prometheus server is reached; `headers` is asked for before each query, so that a token may change."""

    url: str
    headers: Callable[[], Mapping[str, str]] = dict


class PrometheusReader:
    """Reads what selectors match; every call blocks, and is to be made in a thread.

    `service` names the service of a series by its labels. Raises SourceUnavailableError where trying again may help,
    SourceError where the server refuses.
    """

    def __init__(self, server: Server, matches: Sequence[str], service: Callable[[Mapping[str, str]], str]) -> None:
        self.url = server.url.rstrip("/")
        self._headers = server.headers
        self._matches = list(matches) or [EVERYTHING]
        self._service = service
        # Who reads again decides when: the client would sleep where nobody can stop it.
        self._client = PrometheusConnect(self.url, retry=Retry(0), timeout=_ANSWER_S)
        self._types: dict[str, str] = {}
        self._named: set[str] = set()
        self._known: dict[tuple[tuple[str, str], ...], Series] = {}

    def now_ms(self) -> int:
        """The server's time: its samples are stamped by its clock, not by ours."""
        return self._ask(lambda: round(float(self._client.custom_query("time()")[1]) * 1000), "time()")

    def read(self, after_ms: int, until_ms: int) -> Recording:
        """All samples after one time up to another, in order of time; `missing` counts what is no finite number.

        Raises TooMuchError where a shorter time is to be asked for.
        """
        found: dict[tuple[tuple[str, str], ...], _Points] = {}
        missing = 0
        for match in self._matches:
            query = f"{match}[{until_ms - after_ms}ms]"
            for entry in self._ask(partial(self._client.custom_query, query, {"time": until_ms / 1000}), match):
                labels = tuple(sorted(entry["metric"].items()))
                held = {labels: entry["values"]} if "values" in entry else {}
                if "histograms" in entry:  # the classic form of the same metric, where it is stored too, counts more
                    held = {**as_buckets(entry["metric"], entry["histograms"]), **held}
                for one, values in held.items():
                    if one not in found:  # two selectors may match the same series
                        found[one], left_out = _points(values, after_ms)
                        missing += left_out
        return self._recording(found, missing)

    def _recording(self, found: Mapping[tuple[tuple[str, str], ...], _Points], missing: int) -> Recording:
        kept = [(labels, points) for labels, points in found.items() if len(points.ts)]
        self._learn_types({dict(labels).get("__name__", "") for labels, _ in kept})
        series = [self._series(labels) for labels, _ in kept]
        sizes = [len(points.ts) for _, points in kept]
        return Recording(
            series=series,
            index=np.repeat(np.arange(len(kept), dtype=np.int64), sizes),
            ts=np.concatenate([np.empty(0, np.int64), *(points.ts for _, points in kept)]),
            value=np.concatenate([np.empty(0, np.float64), *(points.value for _, points in kept)]),
            missing=missing,
        ).in_order()

    def _series(self, labels: tuple[tuple[str, str], ...]) -> Series:
        known = self._known.get(labels)
        if known is None:
            rest = dict(labels)
            name = rest.pop("__name__", "")
            known = self._known[labels] = Series(
                name=name,
                labels={**rest, SERVICE_LABEL: self._service(rest)},
                kind=kind_of_type(name, self._types),
                unit=unit_of_name(name),
            )
        return known

    def _learn_types(self, names: set[str]) -> None:
        """Ask for the types of all metrics where one has a name that was not met before."""
        if len(self._known) > _MOST_SERIES:
            self._known.clear()
            self._named.clear()
        if names <= self._named:
            return
        entries = self._ask(partial(self._client.get_metric_metadata, ""), "the types of metrics")
        self._types = {entry["metric_name"]: entry["type"] for entry in entries}
        self._named |= names

    def _ask(self, question: Callable[[], Answer], what: str) -> Answer:
        self._client.headers = dict(self._headers())
        try:
            return question()
        except (requests.JSONDecodeError, LookupError, TypeError) as error:
            raise SourceError(
                f"{self.url} answers {what!r} as no Prometheus does ({error!r}); does --url name one?"
            ) from error
        except requests.RequestException as error:
            raise SourceUnavailableError(f"{self.url} does not answer {what!r}: {error}") from error
        except PrometheusApiClientException as error:
            raise self._refusal(what, error) from error

    def _refusal(self, what: str, error: PrometheusApiClientException) -> SourceError:
        status = _STATUS.search(str(error))
        code = int(status[1]) if status else 0
        text = f"{self.url} refuses {what!r}: {error}"
        if code == _TOO_MUCH:
            return TooMuchError(text)
        if code in _BUSY:
            return SourceUnavailableError(text)
        return SourceError(f"{text}; check --url, --match and --token-file")


class _Points(NamedTuple):
    ts: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]


def _points(values: Sequence[tuple[float, str]], after_ms: int) -> tuple[_Points, int]:
    """Samples after a time as columns, and how many were no finite numbers."""
    ts = np.rint(np.array([pair[0] for pair in values], dtype=np.float64) * 1000).astype(np.int64)
    value = np.array([pair[1] for pair in values], dtype=np.float64)
    # Prometheus 2 takes the beginning of a range as part of it, Prometheus 3 does not.
    new = ts > after_ms
    kept = new & np.isfinite(value)
    return _Points(ts[kept], value[kept]), int(np.count_nonzero(new) - np.count_nonzero(kept))


def kind_of_type(name: str, types: Mapping[str, str]) -> Kind:
    """Kind of a series by the type that the server knows for its metric family; by its name where it knows none."""
    known = types.get(name)
    if known in _KINDS:
        return _KINDS[known]
    part = next((part for part in _PARTS if name.endswith(part)), "")
    family = types.get(name.removesuffix(part)) if part else None
    if part == "_bucket" and family == "histogram":
        return Kind.BUCKET
    if part in ("_sum", "_count") and family in ("histogram", "summary"):
        return Kind.COUNTER
    if part and family == "gaugehistogram":
        return Kind.GAUGE
    if part == "_total" and family == "counter":
        return Kind.COUNTER
    return kind_of_name(name)
