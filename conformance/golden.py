"""Golden payloads: what a real producer sent, byte for byte, beside what it was and how it was set up."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"


def save(name: str, payloads: Sequence[bytes], about: Mapping[str, Any]) -> None:
    """Write the payloads as `tests/golden/NAME/NNN.bin`, and `about.json` beside them."""
    folder = GOLDEN / name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*"):
        old.unlink()
    for number, payload in enumerate(payloads):
        (folder / f"{number:03d}.bin").write_bytes(payload)
    recorded = {**about, "recorded": f"{datetime.now(UTC):%Y-%m-%d}", "payloads": len(payloads)}
    (folder / "about.json").write_text(json.dumps(recorded, indent=2, ensure_ascii=False) + "\n")
    print(f"{name}: {len(payloads)} payloads, {sum(map(len, payloads))} bytes")
