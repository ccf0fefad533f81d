"""Where the fuzzer starts: examples of each format, good ones and bad ones, and what real programs sent."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.ingest.formats import test_cloudevents, test_exposition, test_influx, test_json_formats, test_sniffing
from tests.ingest.test_ingest_stage import ACCEPTED, REFUSED

_GOLDEN = Path(__file__).parents[1] / "golden"


def seeds() -> dict[str, list[bytes]]:
    """Messages by format; a real program's go to every format, each of which must bear what is meant for another."""
    found: dict[str, list[bytes]] = defaultdict(list)
    found["influx"] += [case[1] for case in (*test_influx.ACCEPTED, *test_influx.REFUSED)]
    found["prometheus"] += [case[1] for case in (*test_exposition.ACCEPTED, *test_exposition.REFUSED)]
    found["cloudevents"] += [case[1] for case in (*test_cloudevents.ACCEPTED, *test_cloudevents.REFUSED)]
    for name, _, body, _ in (*test_json_formats.ACCEPTED, *test_json_formats.REFUSED):
        found[name].append(_encoded(body))
    for name, body in test_sniffing.LOOKS:
        found[name].append(_encoded(body))
    found["json"] += [_encoded(case[1]) for case in (*ACCEPTED, *REFUSED)]
    found["columnar"] += [payload for payload in found["json"] if b'"series"' in payload]
    return found


def golden() -> list[bytes]:
    """What real programs sent."""
    return [path.read_bytes() for path in sorted(_GOLDEN.rglob("*")) if path.is_file() and path.suffix != ".md"]


def _encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()
