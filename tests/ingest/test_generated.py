from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "pipeline" / "ingest" / "protobuf"


def test_generated_modules_are_current(tmp_path: Path) -> None:
    """`make proto` would change nothing."""
    protos = sorted(FOLDER.glob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([*command, *(proto.name for proto in protos)], cwd=FOLDER, check=True)
    generated = sorted(tmp_path.iterdir())
    assert [path.name for path in generated] == sorted(path.name for path in FOLDER.glob("*_pb2.*"))
    for path in generated:
        assert path.read_text() == (FOLDER / path.name).read_text(), f"{path.name} is not current: run `make proto`"
