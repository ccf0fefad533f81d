"""A small file system of the lab's own, whose filling is measured as the node's."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SIZE = 128 << 20
_HEALTHY = 0.55
_FILL = "filling"


class Disk:
    """In memory, mounted below the lab's folder; without the right to mount it is the machine's own disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)]
        self.own = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0  # noqa: S603
        if self.own:
            (folder / "data").write_bytes(bytes(round(_SIZE * _HEALTHY)))

    def write(self, share: float) -> None:
        """Write so much more of its size. Raises OSError where it is full."""
        with (self._folder / _FILL).open("ab") as file:
            file.write(bytes(round(_SIZE * share)))

    def clean(self) -> None:
        """Delete what `write` wrote."""
        (self._folder / _FILL).unlink(missing_ok=True)

    def metrics(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """(name, labels, value) as node_exporter names them."""
        usage = psutil.disk_usage(str(self._folder))
        yield "node_filesystem_avail_bytes", {}, float(usage.free)
        yield "node_filesystem_size_bytes", {}, float(usage.total)

    def stop(self) -> None:
        """Unmount it."""
        if self.own:
            subprocess.run(["umount", str(self._folder)], check=False, capture_output=True)  # noqa: S603, S607
