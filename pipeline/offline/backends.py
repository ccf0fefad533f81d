"""Where offline work runs: in this process, in several, or on a cluster; joblib's backends behind one name."""

from __future__ import annotations

import enum
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, TypeVar

import joblib

from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

_Result = TypeVar("_Result")


class Backend(enum.StrEnum):
    """How work is spread."""

    SERIAL = "serial"
    PROCESSES = "processes"
    DASK = "dask"
    RAY = "ray"


_NAMES = {Backend.SERIAL: "sequential", Backend.PROCESSES: "loky", Backend.DASK: "dask", Backend.RAY: "ray"}


@dataclass(frozen=True, slots=True)
class Workers:
    """Where to run, on how many at once (None: all processors), and the address of Dask's scheduler or Ray's head."""

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
        """Joblib's Parallel whose results come in order; as a generator, while the caller does something else.

        Ray's gives them once all are there. Raises SettingsError where Dask or Ray is not installed or does not answer.
        """
        return_as = "list" if self.backend is Backend.RAY else "generator"
        with (
            _connected(self),
            joblib.parallel_config(backend=_NAMES[self.backend]),
            joblib.Parallel(n_jobs=self.count, return_as=return_as) as parallel,
        ):
            yield parallel

    def map(self, function: Callable[..., _Result], calls: Iterable[tuple[Any, ...]]) -> list[_Result]:
        """What the function gives for each call's arguments, in order. Raises as `parallel` does."""
        calls = list(calls)
        if self.backend is Backend.SERIAL or len(calls) < 2:
            return [function(*arguments) for arguments in calls]
        with self.parallel() as parallel:
            return list(parallel(joblib.delayed(function)(*arguments) for arguments in calls))


SERIAL: Final = Workers(Backend.SERIAL)
"""This process alone."""


@contextmanager
def _connected(workers: Workers) -> Iterator[None]:
    if workers.backend is Backend.DASK:
        with _dask(_address(workers, "distributed", "its scheduler", "tcp://scheduler:8786")):
            yield
    elif workers.backend is Backend.RAY:
        with _ray(_address(workers, "ray", "its head", "head:6379")):
            yield
    else:
        yield


def _address(workers: Workers, package: str, what: str, example: str) -> str:
    """Raises SettingsError where the package or the address is missing."""
    option = f"--backend {workers.backend}"
    if find_spec(package) is None:
        raise SettingsError(f"{option}: {package} is not installed; pip install 'duri-pipeline[{workers.backend}]'")
    if workers.address is None:
        raise SettingsError(f"{option}: name {what} with --address, like {example}")
    return workers.address


@contextmanager
def _dask(address: str) -> Iterator[None]:
    from distributed import Client  # noqa: PLC0415  an extra

    try:
        client = Client(address, timeout="10s")  # type: ignore[no-untyped-call]
    except OSError as error:
        raise SettingsError(f"--address {address}: no Dask scheduler answers ({error})") from error
    with client:
        yield


@contextmanager
def _ray(address: str) -> Iterator[None]:
    import ray  # noqa: PLC0415  an extra
    from ray.util.joblib import register_ray  # noqa: PLC0415

    try:
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SettingsError(f"--address {address}: no Ray cluster answers ({error})") from error
    register_ray()
    try:
        yield
    finally:
        ray.shutdown()
