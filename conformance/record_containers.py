"""Record what a container runtime answers: `python -m conformance.record_containers SOCKET NAME`.

Any containers will do, each with a label `com.docker.compose.service`. The kernel's own figures, from before and after
the questions, are kept beside the answers. Needs control groups of version 1, and the right to read them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from conformance.golden import GOLDEN
from pipeline.sources.docker_api import DockerApi

_GROUPS = Path("/sys/fs/cgroup")
_FILES = {
    "cpuacct": ("cpuacct.usage",),
    "cpu": ("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.shares"),
    "memory": ("memory.usage_in_bytes", "memory.limit_in_bytes"),
    "pids": ("pids.current",),
}
_KEPT = ("Id", "Name", "State", "HostConfig")
"""Of the answer about a container; the rest is paths and addresses of the machine."""


def main(socket: Path, name: str) -> None:
    """Write `tests/golden/NAME/`: questions with their answers, and what the kernel says of each container."""
    api = DockerApi(socket)
    answers = {question: api.get(question) for question in ("/version", "/containers/json")}
    kernel = {}
    for listed in answers["/containers/json"]:
        container = f"/containers/{listed['Id']}"
        statistics = f"{container}/stats?stream=false&one-shot=true"
        inspected = api.get(f"{container}/json")
        before = accounts(inspected["State"]["Pid"])
        answers |= {f"{container}/json": {key: inspected[key] for key in _KEPT}, statistics: api.get(statistics)}
        after = accounts(inspected["State"]["Pid"])
        kernel[listed["Labels"]["com.docker.compose.service"]] = {"before": before, "after": after}
    folder = GOLDEN / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in (("answers", answers), ("kernel", kernel)):
        (folder / f"{file}.json").write_text(json.dumps(content, indent=2) + "\n")
    print(f"{name}: {len(answers)} answers of {len(kernel)} containers")


def accounts(pid: int) -> dict[str, Any]:
    """What the kernel counts for the container of this process."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    groups = {controller: path for _, controller, path in (line.split(":", 2) for line in lines)}
    found: dict[str, Any] = {
        file: int((_GROUPS / controller / groups[controller].lstrip("/") / file).read_text())
        for controller, files in _FILES.items()
        for file in files
    }
    return found | {"network": network(pid)}


def network(pid: int) -> dict[str, list[int]]:
    """Bytes and packets received and sent of each interface but the loopback."""
    rows = [line.split(":") for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]]
    numbers = {name.strip(): [int(word) for word in rest.split()] for name, rest in rows}
    return {name: [row[0], row[1], row[8], row[9]] for name, row in numbers.items() if name != "lo"}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
