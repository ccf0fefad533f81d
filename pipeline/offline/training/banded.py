"""What bands say of a dataset: blocks whose features are the scores of each version, by the code that runs live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from models.offline.bands import of_cube
from pipeline.offline.training.blocks import Blocks
from pipeline.offline.training.evaluating import Scorer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from pipeline.offline.dataset.labels import LabelledWindow
    from pipeline.offline.dataset.reading import Dataset
    from pipeline.offline.dataset.times import Span
    from pipeline.offline.training.sought import Sought

    Floats = npt.NDArray[np.float64]


class Column(NamedTuple):
    """An estimator to whom a column of its features is how abnormal a row is."""

    number: int

    def score_samples(self, features: Floats) -> Floats:
        """The opposite of the column, float64[n], as scikit-learn has it."""
        return -features[:, self.number]


class Material(NamedTuple):
    """What is judged: signals of a dataset, with so many anomalies put into each service."""

    dataset: Dataset
    signals: Sequence[str]
    injected: int
    seed: int
    seek: Sought | None = None
    windows: Sequence[LabelledWindow] = ()


def banded(material: Material, bands: Mapping[str, Scorer], span: Span) -> tuple[Blocks, dict[str, Scorer]]:
    """Blocks with the scores of these bands in the span, NaN elsewhere, and what makes alarms of them."""
    estimators: list[Any] = [one.estimator for one in bands.values()]

    def scores(values: Floats, usual: Floats, start: npt.NDArray[np.int64], step_ms: int) -> Floats:
        first, after = np.searchsorted(start, (span.start, span.end))
        return of_cube(estimators, values, start, step_ms, slice(int(first), int(after)), usual)

    columns = {who: Scorer(Column(at), one.threshold) for at, (who, one) in enumerate(bands.items())}
    dataset, signals, injected, seed, seek, windows = material
    return Blocks(dataset, signals, injected, seed, seek, windows, features=scores), columns
