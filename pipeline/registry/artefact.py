"""Model files: scikit-learn estimators in skops' format, which holds no code; only allowed types are loaded."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import platform
import zipfile
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import ModelError
from pipeline.registry.reference import check_reference

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pipeline.registry.manifest import ModelManifest

LIBRARIES: Final = ("numpy", "scikit-learn", "scipy", "skops")
"""Whose versions decide whether a model file can be read."""
_KEPT: Final = 8
"""Models that stay in memory once they are loaded."""
_SCHEMA: Final = "schema.json"
_NO_TIME: Final = (1980, 1, 1, 0, 0, 0)
ALLOWED: Final = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor", "sklearn.tree._tree.Tree")
"""Types that may stand in a model file beyond those that skops trusts (scikit-learn's, numpy's and scipy's own).

Trees are arrays of places in each other, which scikit-learn follows unchecked; so the file's hash is checked first.
"""


def warm() -> None:
    """Import what models need, which takes a second: before they come, not when."""
    for name in ("skops.io", "sklearn.ensemble", "sklearn.decomposition"):
        importlib.import_module(name)


def dump(estimator: Any) -> bytes:
    """The estimator as the bytes of a model file. Raises ModelError where it holds what may not be loaded again."""
    from skops import io as skops  # noqa: PLC0415  see `warm`

    data = _same_bytes(skops.dumps(estimator))
    foreign = _foreign(data, ALLOWED)
    if foreign:
        raise ModelError(f"the model holds {', '.join(foreign)}, which may not be loaded; use scikit-learn's own types")
    return data


def load(data: bytes, manifest: ModelManifest, place: str, allowed: Collection[str] = ALLOWED) -> Any:
    """The estimator, once everything about it is as the manifest says, down to its reference scores.

    Raises ModelError that says what is not.
    """
    check(data, manifest, place, allowed)
    from skops.io.exceptions import UntrustedTypesFoundException  # noqa: PLC0415

    try:
        estimator = _loaded(data, tuple(allowed))
    except UntrustedTypesFoundException as error:
        raise ModelError(f"{place}: {error}; register a model of scikit-learn's own types") from error
    except Exception as error:  # skops and scikit-learn raise whatever a strange file makes them stumble over
        raise ModelError(f"{place}: cannot be loaded ({error!r}); train it again with these libraries") from error
    check_reference(place, manifest, estimator)
    return estimator


@lru_cache(maxsize=_KEPT)
def _loaded(data: bytes, allowed: tuple[str, ...]) -> Any:
    """Scoring changes no estimator: all partitions of a worker use the same."""
    from skops import io as skops  # noqa: PLC0415  see `warm`

    return skops.loads(data, trusted=list(allowed))


def check(data: bytes, manifest: ModelManifest, place: str, allowed: Collection[str] = ALLOWED) -> None:
    """Whether it may be loaded: it is whole, and of allowed types. Raises ModelError."""
    check_whole(data, manifest, place)
    foreign = _foreign(data, allowed)
    if foreign:
        raise ModelError(
            f"{place}: holds {', '.join(foreign)}, types outside the allow-list; register a model of scikit-learn's own"
        )


def check_whole(data: bytes, manifest: ModelManifest, place: str) -> None:
    """Whether it is what the manifest speaks of: size, hash and libraries. Raises ModelError. Needs no slow import."""
    if len(data) != manifest.size:
        raise ModelError(
            f"{place}: has {len(data)} bytes, its manifest says {manifest.size}: truncated; register it again"
        )
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise ModelError(f"{place}: its SHA-256 is not the manifest's: altered; register it again")
    other = _other_libraries(manifest.libraries)
    if other:
        raise ModelError(f"{place}: was trained with {other}; train it again, or install what it was trained with")


def libraries() -> dict[str, str]:
    """Versions in use here."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def _same_bytes(data: bytes) -> bytes:
    """The model file without what differs from one process to the next: places in memory, and the time of day.

    skops names objects, and the arrays' files, by where they lay in memory; here they are numbered as they appear.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as before:
        schema = json.loads(before.read(_SCHEMA))
        files = _renumber(schema)
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as after:
            contents = {new: before.read(old) for old, new in files.items()}
            for name, content in {**contents, _SCHEMA: json.dumps(schema).encode()}.items():
                after.writestr(zipfile.ZipInfo(name, _NO_TIME), content, zipfile.ZIP_DEFLATED)
    return sink.getvalue()


def _renumber(schema: dict[str, Any]) -> dict[str, str]:
    """Number the objects of skops' tree in the order in which it has them; new names of the files, by the old ones."""
    numbers: dict[int, int] = {}
    files: dict[str, str] = {}
    waiting: list[Any] = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "__id__" in node:
                node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
            if isinstance(node.get("file"), str):
                suffix = node["file"].rpartition(".")[2]
                node["file"] = files.setdefault(node["file"], f"{len(files) + 1}.{suffix}")
            waiting.extend(reversed(node.values()))
        elif isinstance(node, list):
            waiting.extend(reversed(node))
    return files


def _other_libraries(trained: Mapping[str, str]) -> str:
    """scikit-learn promises to read its own models within one minor version only."""
    here = version("scikit-learn")
    there = trained.get("scikit-learn", "nothing")
    same = there.split(".")[:2] == here.split(".")[:2]
    return "" if same else f"scikit-learn {there}, here is {here}"


def _foreign(data: bytes, allowed: Collection[str]) -> list[str]:
    from skops import io as skops  # noqa: PLC0415  see `warm`

    try:
        return sorted(set(skops.get_untrusted_types(data=data)) - set(allowed))
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"not a model file in skops' format ({error}); register it again") from error
