"""A trained estimator on its way into the registry: its manifest, its bytes, its card."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.offline.training.recipe import plain
from pipeline.registry import artefact
from pipeline.registry.manifest import FeatureSchema, ModelManifest, Reference, Training
from pipeline.registry.pointers import PointerLog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.offline.dataset.reading import Dataset
    from pipeline.offline.dataset.times import Span
    from pipeline.offline.training.recipe import Recipe
    from pipeline.registry.store import Store


class Trained(NamedTuple):
    """A registered version, and what is known of it."""

    version: str
    manifest: ModelManifest
    card: str


class Origin(NamedTuple):
    """From what a model was trained: recipe, the parameters chosen, seed, dataset and the time used.

    `live` is the version beside which it was evaluated; None where none was live, or none that could be compared.
    """

    recipe: Recipe
    chosen: Mapping[str, Any]
    seed: int
    dataset: Dataset
    span: Span
    live: str | None = None


def live_version(store: Store, name: str) -> str | None:
    """The version of this model that is live now."""
    return PointerLog(store, name).pointers().live


def manifest_of(
    origin: Origin,
    data: bytes,
    schema: FeatureSchema,
    metrics: Mapping[str, float],
    threshold: float | None,
    usual: tuple[tuple[float, ...], ...] = (),
    reference: Reference | None = None,
) -> ModelManifest:
    """The manifest of a model whose file has these bytes.

    `usual` is how its features were spread in training, `reference` what it gave to some of the rows there.
    """
    return ModelManifest(
        name=origin.recipe.name,
        kind=origin.recipe.kind.value,
        training=Training(
            recipe=plain(origin.recipe, origin.chosen),
            seed=origin.seed,
            dataset=origin.dataset.fingerprint,
            start=origin.span.start,
            end=origin.span.end,
        ),
        features=schema,
        services=origin.recipe.services,
        libraries=artefact.libraries(),
        metrics=dict(metrics),
        compared_with=origin.live,
        threshold=threshold,
        usual=usual,
        reference=reference,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
    )


def register(
    store: Store, dataset: Dataset, manifest: ModelManifest, data: bytes, card: Mapping[str, bytes]
) -> Trained:
    """Write all of it, or nothing; with it the dataset's manifest, which lists the files it was trained on.

    Raises ModelError.
    """
    listed = dataset.manifest.model_dump_json(indent=1) + "\n"
    version = store.add(manifest, data, {**card, "dataset.json": listed.encode()})
    return Trained(version, manifest, f"{store.location}/models/{manifest.name}/{version}/card.md")
