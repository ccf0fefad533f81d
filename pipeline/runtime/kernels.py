"""Compiled kernels are there before a worker takes any partition: no message waits a minute for one.

1 look    the note in numba's cache says for which program, machine and stages it is complete
2 compile where it says nothing of the kind, in a process of its own: compiling takes memory that is never given back,
          and can be stopped at any time; numba keeps the results on disk
3 note    what the cache is complete for now

`python -m pipeline.runtime.kernels` does 1 to 3 for the shipped settings: an image brings its kernels along.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import llvmlite
import numba
import structlog
from llvmlite import binding
from numba.core.registry import CPUDispatcher

import models
import pipeline
from models.forecast import straight
from pipeline.runtime.children import ending_with_us, stop_child

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.runtime.spec import StageSpec
    from pipeline.settings import Settings

_NOTE: Final = "duri-kernels.json"
_LAST_LINES: Final = 5
COMPILING: Final = "compiling kernels, once per installation: a minute or two"

log = structlog.get_logger(__name__)


async def make_ready(settings: Settings, stages: Sequence[StageSpec]) -> None:
    """Have every kernel of these stages in numba's cache; compile what is not there. Cancelling ends the compiler."""
    names = _kernels_of(stages)
    # 1 look
    if _noted(settings, names):
        return
    # 2 compile
    log.info(COMPILING)
    began = time.monotonic()
    order = json.dumps({"settings": settings.model_dump(mode="json"), "stages": names}).encode()
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pipeline.runtime.kernels"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        **ending_with_us(),
    )
    try:
        _, said = await child.communicate(order)
    finally:
        await stop_child(child)
    took_s = round(time.monotonic() - began, 1)
    if child.returncode == 0:
        log.info("kernels are compiled", took_s=took_s)
    else:
        tail = said.decode("utf-8", "replace").splitlines()[-_LAST_LINES:]
        log.warning("kernels were not compiled ahead; the first messages will wait for them", took_s=took_s, said=tail)


def are_ready(settings: Settings, stages: Sequence[StageSpec]) -> bool:
    """Whether `make_ready` has nothing to do."""
    return _noted(settings, _kernels_of(stages))


def _kernels_of(stages: Sequence[StageSpec]) -> list[str]:
    return sorted(stage.name for stage in stages if stage.rehearse is not None)


def _noted(settings: Settings, names: Sequence[str]) -> bool:
    """Whether the cache is complete for these stages, and all of it is still there."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        note = json.loads(_note_file().read_text(encoding="utf-8"))
        complete = note["for"] == _program(settings) and set(names) <= set(note["stages"])
        return complete and all(Path(file).exists() for file in note["files"])
    return not names


def _note_file() -> Path:
    """Beside the kernels: where the cache goes, it goes."""
    return Path(straight.stats.cache_path or ".") / _NOTE


def _program(settings: Settings) -> str:
    """What numba looks at to decide whether a cached kernel still holds, and which learner the settings name."""
    digest = hashlib.blake2b(digest_size=16)
    versions = (numba.__version__, llvmlite.__version__, platform.python_version(), binding.get_host_cpu_name())
    learner = settings.detect.multivariate.model_dump_json()
    digest.update("\n".join((*versions, str(sorted(binding.get_host_cpu_features())), learner)).encode())
    for package in (models, pipeline):
        for source in sorted(Path(package.__path__[0]).rglob("*.py")):
            stat = source.stat()
            digest.update(f"{source} {stat.st_mtime_ns} {stat.st_size}\n".encode())
    return digest.hexdigest()


def _compile(settings: Settings, names: Sequence[str]) -> None:
    """Steps 2 and 3 in this process."""
    from pipeline.runtime.stages import build_specs  # noqa: PLC0415  a worker is given its stages

    for spec in build_specs(settings, names):
        if spec.rehearse is not None:
            spec.rehearse()
    # 3 note
    files = sorted(str(file) for folder in _cache_folders() for file in folder.glob("*.nb?"))
    note = _note_file()
    fresh = note.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps({"for": _program(settings), "stages": list(names), "files": files}), encoding="utf-8")
    fresh.replace(note)


def _cache_folders() -> set[Path]:
    """Folders of the kernels of this process."""
    paths = [one.stats.cache_path for one in gc.get_objects() if isinstance(one, CPUDispatcher)]
    return {Path(path) for path in paths if path}


def main() -> None:
    """Compile for the order on standard input (JSON: settings, stages), or for the shipped settings."""
    from pipeline.runtime.stages import STAGES  # noqa: PLC0415  a worker is given its stages
    from pipeline.settings import Settings, load_settings  # noqa: PLC0415

    if sys.stdin is None or sys.stdin.isatty():
        _compile(load_settings(), STAGES)
        return
    order = json.loads(sys.stdin.read() or "{}")
    _compile(Settings(**order["settings"]) if order else load_settings(), order.get("stages", STAGES))


if __name__ == "__main__":
    main()
