"""The series that ingest has met: raw names and labels to a small index, its identity, canonical bytes, partition.

Only a cache: it is cleared when it is full, and what it answers depends on nothing but the question.
"""

from __future__ import annotations

from array import array
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from pipeline.errors import DecodeError
from pipeline.ingest.limits import GAP_S, Limits
from pipeline.ingest.naming import KEY_AS_SERVICE, service_of
from pipeline.ingest.parsing import parse_json
from pipeline.ingest.scan.known import JSON_SAMPLE, number_of
from pipeline.ingest.scan.scanner import Scanner
from pipeline.ingest.scan.table import SeriesTable
from pipeline.partitioning import partition_of
from pipeline.series import SERVICE_LABEL, Frame, Kind, frame_of, kind_of_name, spelled, unit_of_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from pipeline.ingest.rows import Column, Named
    from pipeline.settings import IngestSettings

_CAPACITY = 1_000_000
_RECENT = 16_384
"""Series that are remembered by their labels, for decoders that know no shorter way: some 10 MB."""
_SECTIONS_BYTES = 64 << 20
_Asked = tuple[str, tuple[tuple[str, str], ...], bytes | None, str | None, str | None]
_FRAMES = 4096
_texts = msgspec.json.Decoder(dict[str, str])
_scalars = msgspec.json.Decoder(dict[str, str | int | float | bool])


class Labelled(NamedTuple):
    """Labels of series: without empty ones, their service, their canonical bytes, their partition of `duri.samples`."""

    labels: dict[str, str]
    service: str
    text: bytes
    partition: int


class _Family(NamedTuple):
    """Labels of series that differ in one, or of a single one."""

    longest: Labelled
    """Labels of that with the longest text."""
    text: bytes
    """Canonical bytes of the labels of each, one after the other."""
    sizes: Sequence[int]
    """Bytes of that in which each differs."""


def _family(one: Labelled, label: str, texts: Sequence[str]) -> _Family:
    """These labels with each of these texts for that one: numerals, of which JSON escapes nothing."""
    held = {**one.labels, SERVICE_LABEL: one.service}
    # Canonical bytes have labels by name.
    before = spelled({name: text for name, text in held.items() if name < label})[:-1]
    after = spelled({name: text for name, text in held.items() if name > label})[1:]
    left = b'%s%s"%s":"' % (before, b"," if len(before) > 1 else b"", label.encode())
    right = b'"%s%s' % (b"," if len(after) > 1 else b"", after)
    longest = max(texts, key=len, default="")
    labels = one._replace(labels={**one.labels, label: longest}, text=left + longest.encode() + right)
    whole = left + (right + left).decode().join(texts).encode() + right if texts else b""
    return _Family(labels, whole, tuple(map(len, texts)))


class SectionCache:
    """Whole lists of series that publishers repeat, by their bytes; emptied when it holds too many bytes."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes | None], npt.NDArray[np.int64]] = {}
        self._bytes = 0

    def get(self, section: tuple[bytes, bytes | None]) -> npt.NDArray[np.int64] | None:
        """Catalog indexes of the series of this section, int64[n], if it was seen."""
        return self._known.get(section)

    def put(self, section: tuple[bytes, bytes | None], indexes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Remember and give back."""
        self._bytes += len(section[0]) + indexes.nbytes
        if self._bytes > _SECTIONS_BYTES:
            self._known.clear()
            self._bytes = len(section[0]) + indexes.nbytes
        self._known[section] = indexes
        return indexes


class SeriesCatalog:
    """Interns series: one index each, and columns by index."""

    def __init__(self, settings: IngestSettings, partitions: int, gap_s: float = GAP_S) -> None:
        self._settings = settings
        self.limits = Limits(settings, gap_s)
        self._partitions = partitions
        self.clear()

    def clear(self) -> None:
        """Forget all; indexes given out before mean nothing afterwards."""
        self._by_raw: dict[tuple[str, bytes, bytes | None, str | None, str | None], int] = {}
        self._by_text: dict[bytes | None, dict[tuple[bytes, bytes | None], int]] = {}
        self._by_labels: dict[_Asked, int] = {}
        self.scanner = Scanner()
        self.known = self.scanner.known
        self.sections = SectionCache()
        self.series = SeriesTable()

    def __len__(self) -> int:
        return len(self.series)

    @property
    def is_full(self) -> bool:
        """Whether it should be cleared before the next records."""
        texts = sum(map(len, self._by_text.values())) + len(self._by_text)
        most = max(len(self._by_raw), texts, len(self.series), len(self.known))
        return most >= _CAPACITY or self.known.is_full

    def intern_raw(self, name: str, labels: bytes, key: bytes | None, kind: str | None, unit: str | None) -> int:
        """Index of the series with these labels as JSON text. Raises DecodeError (reason `labels`)."""
        raw = (name, labels, key, kind, unit)
        index = self._by_raw.get(raw)
        if index is None:
            texts = _parsed(name, labels)
            index = self._by_raw[raw] = self.place(name, texts, key, kind, unit)
            if kind is None and unit is None and self.is_told(texts, key):
                self.known.learn(number_of(JSON_SAMPLE, bool(key)), name.encode(), labels, index)
        return index

    def texts(self, key: bytes | None) -> dict[tuple[bytes, bytes | None], int]:
        """Series that a text format writes so, raw name and raw labels, in messages with this key; to be added to."""
        return self._by_text.setdefault(key, {})

    def is_told(self, labels: dict[str, str], key: bytes | None) -> bool:
        """Whether the labels tell the series by themselves: there is no key, or the service is named before it."""
        if not key:
            return True
        before_key = takewhile(lambda label: label != KEY_AS_SERVICE, self._settings.service_labels)
        return KEY_AS_SERVICE not in self._settings.service_labels or any(map(labels.get, before_key))

    def intern(self, name: str, labels: dict[str, str], key: bytes | None, kind: str | None, unit: str | None) -> int:
        """Index of the series, as `place` gives it: remembered for a while. Raises DecodeError (reason `labels`)."""
        asked = (name, tuple(labels.items()), key, kind, unit)
        index = self._by_labels.get(asked)
        if index is None:
            index = self.place(name, labels, key, kind, unit)
            if len(self._by_labels) >= _RECENT:
                self._by_labels.clear()
            self._by_labels[asked] = index
        return index

    def intern_all(self, named: Named, columns: Sequence[Column], key: bytes | None) -> npt.NDArray[np.int64]:
        """Indexes int64[n] of the series of a point, in order. Raises DecodeError (reason `labels`)."""
        if any(column.label in self._settings.service_labels for column in columns):
            return self._one_by_one(named, columns, key)
        one = self.labelled(named.labels, key)
        parts: list[bytes] = []
        runs, sizes = array("q"), array("q")
        for column in columns:
            each = _family(one, column.label, column.texts) if column.label else _Family(one, one.text, (0,))
            frame = self.frame(named.name + column.suffix, each.longest, column.kind, named.unit)
            parts += (*frame, each.text)
            around = len(each.longest.text) - max(each.sizes, default=0)
            runs.extend((*map(len, frame), len(each.sizes), around, one.partition))
            sizes.extend(each.sizes)
        return self.series.place_all(
            b"".join(parts), np.frombuffer(runs, np.int64).reshape(-1, 6), np.frombuffer(sizes, np.int64)
        )

    def _one_by_one(self, named: Named, columns: Sequence[Column], key: bytes | None) -> npt.NDArray[np.int64]:
        """The same where the label in which they differ names the service: each has its own."""
        found = [
            self.intern(named.name + column.suffix, labels, key, column.kind, named.unit)
            for column in columns
            for labels in ([{**named.labels, column.label: text} for text in column.texts] or [named.labels])
        ]
        return np.asarray(found, dtype=np.int64)

    def place(self, name: str, labels: dict[str, str], key: bytes | None, kind: str | None, unit: str | None) -> int:
        """Index of the series, told by its identity. Raises DecodeError (reason `labels`)."""
        one = self.labelled(labels, key)
        return self.series.place(self.frame(name, one, kind, unit), one.text, one.partition)

    def labelled(self, labels: dict[str, str], key: bytes | None) -> Labelled:
        """What series with these labels have in common, whatever their names."""
        if "" in labels.values():
            # An empty label is none, as Prometheus has it: what leaves them out is the same series as what sends them.
            labels = {label: text for label, text in labels.items() if text}
        service = service_of(labels, key, self._settings)
        whole = labels if labels.get(SERVICE_LABEL) == service else {**labels, SERVICE_LABEL: service}
        return Labelled(labels, service, spelled(whole), partition_of(service.encode(), self._partitions))

    def frame(self, name: str, labelled: Labelled, kind: str | None, unit: str | None) -> Frame:
        """What the series of that name has around these labels. Raises DecodeError (reason `labels`)."""
        if not name:
            raise DecodeError("a sample without a name", reason="labels")
        labels = labelled.labels
        if not self.limits.are_small(name, len(labels), len(labelled.text)):
            self.limits.check_labels(name, labels)
            self.limits.check_labels(name, {SERVICE_LABEL: labelled.service})
        return _frame(name, kind, unit, "le" in labels)


@lru_cache(maxsize=_FRAMES)
def _frame(name: str, kind: str | None, unit: str | None, has_bound: bool) -> Frame:
    """What series of this name have around their labels; `has_bound`: whether one of them is `le`.

    Raises DecodeError (reason `labels`).
    """
    read_as = kind_of_name(name) if kind is None else _kind(name, kind)
    if read_as.is_bucket and not has_bound:
        read_as = Kind.COUNTER if read_as is Kind.BUCKET else Kind.DELTA
    return frame_of(name, read_as, unit_of_name(name) if unit is None else unit)


def _kind(name: str, kind: str) -> Kind:
    try:
        return Kind(kind)
    except ValueError as error:
        raise DecodeError(f"{name!r}: kind {kind[:20]!r} is none of {', '.join(Kind)}", reason="labels") from error


def _parsed(name: str, labels: bytes) -> dict[str, str]:
    """Labels that are a JSON object; of what is no text, what JSON has for it. Raises DecodeError (reason `labels`)."""
    try:
        return _texts.decode(labels)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        what = f"labels of {name!r}, a JSON object of texts"
        return {label: _text(value) for label, value in parse_json(_scalars, labels, what, reason="labels").items()}


def _text(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else f"{value}"
