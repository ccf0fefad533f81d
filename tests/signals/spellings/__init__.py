"""One thing as signals name it and as each other producer does: what `aliases` in signals.yaml must reconcile."""

from __future__ import annotations

from tests.signals.spellings.applications import APPLICATIONS
from tests.signals.spellings.containers import CONTAINERS
from tests.signals.spellings.databases import POSTGRES, REDIS
from tests.signals.spellings.http import HTTP
from tests.signals.spellings.nodes import NODES

ALL = [*HTTP, *CONTAINERS, *NODES, *APPLICATIONS, *POSTGRES, *REDIS]
