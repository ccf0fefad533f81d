"""Kernels before the first message; as a program, what messages call beyond the rehearsals.

python -m tests.runtime.test_kernels
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError

import psutil
import pytest
from numba.core.registry import CPUDispatcher
from structlog.testing import capture_logs

from pipeline.ingest.stage import IngestStage
from pipeline.runtime import kernels, worker
from pipeline.runtime.rehearsal import MESSAGES
from pipeline.runtime.stages import build_specs
from pipeline.settings import IngestSettings, load_settings
from pipeline.stage import LogRecord, Topic
from tests.offline.flows import local, metrics, troubled_system
from tests.runtime.test_worker import page
from tests.runtime.toys import make_topics, settings_for, until, working

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN = Path(__file__).parents[1] / "golden"
HOURS = 2.5


def signatures() -> dict[str, int]:
    """For how many types of arguments each kernel is there."""
    found = {}
    for one in gc.get_objects():
        if isinstance(one, CPUDispatcher) and one.py_func.__module__.startswith(("models.", "pipeline.")):
            name = f"{one.py_func.__module__}.{one.py_func.__qualname__}"
            found[name] = found.get(name, 0) + len(one.signatures)
    return found


def main() -> None:
    """Rehearse, then give the stages what producers really sent and a system in trouble; print what was called anew."""
    settings = load_settings()
    for spec in build_specs(settings):
        assert spec.rehearse is not None
        spec.rehearse()
    rehearsed = signatures()
    stage = IngestStage(settings.ingest, source="duri.metrics/0", samples_partitions=4)
    for folder in sorted(GOLDEN.iterdir()):
        for number, path in enumerate(sorted(folder.glob("*.bin"))):
            stage.step([LogRecord("duri.metrics", 0, number, 1_795_572_900_000, None, path.read_bytes())])
    outputs = local(settings, metrics(troubled_system(), hours=HOURS, slice_s=600))
    assert any(output.topic is Topic.RECOMMENDATIONS for output in outputs)
    for name, number in sorted(signatures().items()):
        if number > rehearsed.get(name, 0):
            sys.stdout.write(f"{name}\n")


def test_messages_call_no_kernel_that_was_not_rehearsed() -> None:
    """Real producers' messages, frames, anomalies and advice need nothing that would have to be compiled."""
    command = [sys.executable, "-m", "tests.runtime.test_kernels"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("message", MESSAGES)
def test_rehearsed_messages_are_read(message: bytes) -> None:
    """A message that ended as a dead letter would not get to the kernels."""
    stage = IngestStage(IngestSettings(), source="duri.metrics/0", samples_partitions=1)
    outputs = stage.step([LogRecord("duri.metrics", 0, 0, 1_767_225_600_000, None, message)])
    assert [output.topic for output in outputs] == [Topic.SAMPLES]


@pytest.fixture
def note() -> Iterator[Path]:
    """Where it is noted that the kernels of this program are there; they are, and it is not."""
    asyncio.run(kernels.make_ready(load_settings(), build_specs(load_settings())))
    (path,) = (Path(kernels.__file__).parents[2] / "models").rglob("duri-kernels.json")
    before = path.read_bytes()
    path.unlink()
    yield path
    path.write_bytes(before)


def test_kernels_are_looked_after_once_per_installation(note: Path) -> None:
    """The first start says that it compiles, and how long that took; the next ones say and do nothing."""
    settings = load_settings()
    with capture_logs() as first:
        asyncio.run(kernels.make_ready(settings, build_specs(settings)))
    assert [line["event"] for line in first] == [
        "compiling kernels, once per installation: a minute or two",
        "kernels are compiled",
    ]
    assert first[-1]["took_s"] > 0
    assert note.exists()
    with capture_logs() as second:
        asyncio.run(kernels.make_ready(settings, build_specs(settings, ["detect"])))
    assert second == []


def test_compiling_ends_when_the_worker_is_to_stop(note: Path) -> None:
    """Ctrl-C during the first start leaves no compiler behind, and no note."""

    async def story() -> None:
        settings = load_settings()
        task = asyncio.create_task(kernels.make_ready(settings, build_specs(settings)))

        async def started() -> bool:
            return any("pipeline.runtime.kernels" in one.cmdline() for one in psutil.Process().children())

        await until(started)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not await started()

    asyncio.run(story())
    assert not note.exists()


def test_a_worker_is_ready_once_its_kernels_are(kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """/readyz says no until then, and no partition is taken: others may work on it."""
    compiled = asyncio.Event()

    async def compiling(*_: object) -> None:
        await compiled.wait()

    monkeypatch.setattr(worker, "make_ready", compiling)
    settings = settings_for(kafka, topic_prefix, http_port=0)

    async def story() -> None:
        await make_topics(settings)
        entered = asyncio.create_task(enter())
        with capture_logs() as logs:

            async def served() -> bool:
                return any(line["event"] == "health and metrics" for line in logs)

            await until(served)
            address = next(line["address"] for line in logs if line["event"] == "health and metrics")
            assert await asyncio.to_thread(page, address, "/healthz")
            with pytest.raises(HTTPError, match="503"):
                await asyncio.to_thread(page, address, "/readyz")
            assert not any(line["event"] == "taking over" for line in logs)
            compiled.set()
            await entered

    async def enter() -> None:
        async with working(settings) as address:
            assert '"ready": true' in await asyncio.to_thread(page, address, "/readyz")

    asyncio.run(story())


if __name__ == "__main__":
    main()
