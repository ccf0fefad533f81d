"""Where offline work runs: in this process, in several, or on a cluster; joblib's backends behind one name."""

from __future__ import annotations

import enum
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import joblib

from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Backend(enum.StrEnum):
    """How work is spread."""

    SERIAL = "serial"
    PROCESSES = "processes"
    DASK = "dask"


_NAMES = {Backend.SERIAL: "sequential", Backend.PROCESSES: "loky", Backend.DASK: "dask"}


@dataclass(frozen=True, slots=True)
class Workers:
    """Where to run, on how many at once (None: the machine's processors), and the address of Dask's scheduler."""

    backend: Backend = Backend.PROCESSES
    jobs: int | None = None
    address: str | None = None

    @property
    def count(self) -> int:
        """How many run at once."""
        if self.backend is Backend.SERIAL:
            return 1
        return self.jobs or int(joblib.cpu_count())

    @contextmanager
    def parallel(self) -> Iterator[joblib.Parallel]:
        """Joblib's Parallel whose results come in order, as a generator, while the caller does something else.

        Raises SettingsError where Dask is not installed or its scheduler does not answer.
        """
        with (
            _client(self),
            joblib.parallel_config(backend=_NAMES[self.backend]),
            joblib.Parallel(n_jobs=self.count, return_as="generator") as parallel,
        ):
            yield parallel


@contextmanager
def _client(workers: Workers) -> Iterator[None]:
    if workers.backend is not Backend.DASK:
        yield
        return
    if find_spec("distributed") is None:
        raise SettingsError("--backend dask: distributed is not installed; pip install 'duri-pipeline[dask]'")
    if workers.address is None:
        raise SettingsError("--backend dask: name its scheduler with --address, like tcp://scheduler:8786")
    from distributed import Client  # noqa: PLC0415  an extra

    try:
        client = Client(workers.address, timeout="10s")  # type: ignore[no-untyped-call]
    except OSError as error:
        raise SettingsError(f"--address {workers.address}: no Dask scheduler answers ({error})") from error
    with client:
        yield
