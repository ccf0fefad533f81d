"""Brings registered models to the workers: what a move needs, in pieces, once it may run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import ModelError
from pipeline.registry.admission import admit
from pipeline.registry.package import parts
from pipeline.registry.pointers import PointerLog, control_record
from pipeline.registry.store import Store

if TYPE_CHECKING:
    from pipeline.records import ModelMove, ModelPart
    from pipeline.registry.admission import Terms


class RegistryCourier:
    """Fetches from a registry, which is opened when it is first needed."""

    def __init__(self, location: str, terms: Terms) -> None:
        self._location = location
        self._terms = terms

    def fetch(self, move: ModelMove) -> list[ModelPart]:
        """The models that run after this move, in pieces. Raises ModelError where the one it is about may not run.

        Another one that may not run any more is left out: who has it keeps it.
        """
        store = self._store()
        found: list[ModelPart] = []
        for version in dict.fromkeys(one for one in (move.live, move.shadow) if one is not None):
            try:
                found += parts(move.model, version, _admitted(store, move.model, version, self._terms))
            except ModelError:
                if version == move.version:
                    raise
        return found

    def standing(self) -> list[ModelMove]:
        """The last move of every model that has a version in a seat; none where the registry cannot be read."""
        found: list[ModelMove] = []
        try:
            store = self._store()
            for name in store.moved():
                moves = PointerLog(store, name).moves()
                if moves and (moves[-1].pointers.live or moves[-1].pointers.shadow):
                    found.append(control_record(moves[-1]))
        except Exception:  # noqa: BLE001  whatever the location's driver raises: workers run without it
            return []
        return found

    def has_models(self) -> bool:
        """Whether there are any, so that one may come."""
        try:
            return not self._store().is_empty
        except Exception:  # noqa: BLE001  whatever the location's driver raises: workers run without it
            return False

    def _store(self) -> Store:
        return Store(self._location)


def _admitted(store: Store, name: str, version: str, terms: Terms) -> bytes:
    try:
        return admit(store, name, version, terms)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{store.location}: {name} {version}: cannot be fetched ({error!r})") from error
