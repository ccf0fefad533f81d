"""Where models lie: a folder, or any location that fsspec knows (s3://…, gs://…, memory://…).

    ROOT/models/NAME/VERSION/model.skops      written first
    ROOT/models/NAME/VERSION/manifest.json    written last: without it there is no such version
    ROOT/models/NAME/VERSION/…                the model card and whatever else belongs to it
    ROOT/log/NAME/00000001.json               one move of a pointer each; see `pipeline.registry.pointers`

Nothing is ever replaced: a file is created, or there already.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import ModelError
from pipeline.registry.artefact import check, check_whole, load
from pipeline.registry.manifest import ModelManifest, parse_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

MODEL_FILE: Final = "model.skops"
MANIFEST_FILE: Final = "manifest.json"


class Store:
    """The files of a registry. Raises ModelError where the location cannot be used."""

    def __init__(self, location: str) -> None:
        self.location = location
        try:
            self._fs, self._root = fsspec.core.url_to_fs(location)
        except (ImportError, ValueError) as error:
            raise ModelError(
                f"{location}: no place for models ({error}); name a folder, or install what it needs"
            ) from error

    # --- versions ---------------------------------------------------------------------------------------------

    def add(self, manifest: ModelManifest, model: bytes, extras: Mapping[str, bytes] | None = None) -> str:
        """Register a version with its model file and what else belongs to it; the version.

        The same version again changes nothing. Raises ModelError where the file is not what the manifest says.
        """
        version = manifest.version
        place = self._place(manifest.name, version)
        check(model, manifest, f"{self.location}: {manifest.name} {version}")
        if self._exists(f"{place}/{MANIFEST_FILE}"):
            return version
        files = {MODEL_FILE: model, **(extras or {}), MANIFEST_FILE: manifest.model_dump_json(indent=1).encode()}
        for name, content in files.items():
            self._write_over(f"{place}/{name}", content)
        return version

    def names(self) -> list[str]:
        """Models that have a version."""
        return [name for name in self._below("models") if self.versions(name)]

    @property
    def is_empty(self) -> bool:
        """Whether no model was ever registered."""
        return not self._below("models")

    def moved(self) -> list[str]:
        """Models of which a pointer was ever moved."""
        return self._below("log")

    def versions(self, name: str) -> list[str]:
        """Whole versions of a model, by the end of the data they were trained on."""
        whole = [
            one for one in self._below(f"models/{name}") if self._exists(f"{self._place(name, one)}/{MANIFEST_FILE}")
        ]
        return sorted(whole, key=lambda one: (self.manifest(name, one).training.end, one))

    def manifest(self, name: str, version: str) -> ModelManifest:
        """A version's manifest. Raises ModelError where there is none, or another one than its version says."""
        place = f"{self._place(name, version)}/{MANIFEST_FILE}"
        text = self._read(
            place, f"{name} {version}: there is no such version; `duri models list` shows those there are"
        )
        manifest = parse_manifest(f"{self.location}/{place}", text)
        if (manifest.name, manifest.version) != (name, version):
            raise ModelError(
                f"{self.location}/{place}: is not the manifest of {name} {version}: altered; register it again"
            )
        return manifest

    def model_bytes(self, name: str, version: str) -> bytes:
        """A version's model file as it lies there. Raises ModelError where it is missing."""
        place = f"{self._place(name, version)}/{MODEL_FILE}"
        return self._read(place, f"{name} {version}: its model file is missing; register it again")

    def estimator(self, name: str, version: str) -> Any:
        """A version's estimator. Raises ModelError where it may not be loaded."""
        manifest = self.manifest(name, version)
        return load(self.model_bytes(name, version), manifest, f"{self.location}: {name} {version}")

    def whole(self, name: str, version: str) -> tuple[ModelManifest, bytes]:
        """A version's manifest and model file. Raises ModelError where one is missing or altered."""
        manifest, model = self.manifest(name, version), self.model_bytes(name, version)
        check_whole(model, manifest, f"{self.location}: {name} {version}")
        return manifest, model

    def verify(self, name: str, version: str) -> str | None:
        """What is wrong with a version; None where nothing is."""
        try:
            self.estimator(name, version)
        except ModelError as error:
            return str(error)
        return None

    def remove(self, name: str, version: str) -> None:
        """Remove a version: its manifest first, so that nobody sees half of it."""
        place = self._place(name, version)
        self._fs.rm(f"{self._root}/{place}/{MANIFEST_FILE}")
        self._fs.rm(f"{self._root}/{place}", recursive=True)

    # --- files ------------------------------------------------------------------------------------------------

    def create(self, place: str, content: bytes) -> bool:
        """Create a file whole or not at all; False where it is there already."""
        path = f"{self._root}/{place}"
        try:
            if isinstance(self._fs, LocalFileSystem):
                return _create_local(Path(path), content)
            self._fs.pipe_file(path, content, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            raise self._cannot(place, error) from error
        return True

    def files(self, folder: str) -> list[tuple[str, bytes]]:
        """Names and contents of the files in a folder, by name."""
        return [(name, self._read(f"{folder}/{name}", f"{folder}/{name} is gone")) for name in self._below(folder)]

    def _write_over(self, place: str, content: bytes) -> None:
        """Write a file of a version that is not whole yet: what a killed writer left there is replaced."""
        path = f"{self._root}/{place}"
        try:
            if isinstance(self._fs, LocalFileSystem):
                Path(path).unlink(missing_ok=True)
                _create_local(Path(path), content)
            else:
                self._fs.pipe_file(path, content)
        except OSError as error:
            raise self._cannot(place, error) from error

    def _read(self, place: str, missing: str) -> bytes:
        try:
            content: bytes = self._fs.cat_file(f"{self._root}/{place}")
        except FileNotFoundError as error:
            raise ModelError(f"{self.location}: {missing}") from error
        except OSError as error:
            raise self._cannot(place, error) from error
        return content

    def _below(self, folder: str) -> list[str]:
        """Names in a folder; none where it does not exist. What a writer has not finished is left out."""
        try:
            found = self._fs.ls(f"{self._root}/{folder}", detail=False)
        except FileNotFoundError:
            return []
        names = (str(path).rstrip("/").rsplit("/", 1)[-1] for path in found)
        return sorted(name for name in names if not name.startswith("."))

    def _exists(self, place: str) -> bool:
        return bool(self._fs.exists(f"{self._root}/{place}"))

    def _place(self, name: str, version: str) -> str:
        return f"models/{name}/{version}"

    def _cannot(self, place: str, error: OSError) -> ModelError:
        return ModelError(
            f"{self.location}/{place}: cannot be used ({error.strerror or error}); nothing has changed. "
            "Free or grant what is missing and repeat the command"
        )


def _create_local(path: Path, content: bytes) -> bool:
    """A file that appears whole: written beside, flushed, then linked to its name, which fails where that exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with beside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(beside, path)
    except FileExistsError:
        return False
    finally:
        beside.unlink(missing_ok=True)
    return True
