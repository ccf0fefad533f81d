from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.offline.dataset.tables import SCHEMAS, Table

DOCUMENT = (Path(__file__).parents[3] / "docs" / "dataset.md").read_text(encoding="utf-8")
NAMES = {
    "timestamp[ms, tz=UTC]": "timestamp",
    "list<element: string>": "list of string",
    "list<item: string>": "list of string",
}


def documented(table: Table) -> list[tuple[str, ...]]:
    """(column, type, meaning) as the document's section has them."""
    [section] = re.findall(rf"^### {table}: .*?\n(.*?)(?=^##)", DOCUMENT, re.DOTALL | re.MULTILINE)
    return re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", section, re.MULTILINE)


def name_of(kind: pa.DataType) -> str:
    return "word" if pa.types.is_dictionary(kind) else NAMES.get(str(kind), str(kind))


@pytest.mark.parametrize("table", list(Table))
def test_the_document_has_every_column(table: Table) -> None:
    """docs/dataset.md lists each table's columns, types and meanings as they are."""
    assert documented(table) == [
        (field.name, name_of(field.type), field.metadata[b"description"].decode()) for field in SCHEMAS[table]
    ]
