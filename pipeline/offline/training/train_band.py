"""From frames to a registered band: what each signal is expected to be, by gradient-boosted quantiles.

Three regressors with quantile loss (Koenker & Bassett, Econometrica 46, 1978), lower, middle and upper end, are one
estimator that predicts all three. They are fitted on the first part of the time and judged on the last: how
much of the normal values lies within (coverage), and the pinball loss beside that of the quantiles of each signal's
hours in the first part, which is a band without a model.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.multioutput import MultiOutputRegressor

from models.offline import band_features, stability
from models.offline.bands import beyond, ends
from pipeline.errors import FileError
from pipeline.offline.backends import SERIAL
from pipeline.offline.dataset.times import Span
from pipeline.offline.training.banded import Material, banded
from pipeline.offline.training.blocks import Blocks
from pipeline.offline.training.card import Subject, card
from pipeline.offline.training.evaluating import LIVE, NEW, Scorer
from pipeline.offline.training.fitting import Drawn, calibrate, split_of
from pipeline.offline.training.registering import Origin, Trained, live_version, manifest_of, register
from pipeline.offline.training.sought import sought
from pipeline.offline.training.worth import Terms, live_scorer, worth
from pipeline.registry import artefact
from pipeline.registry.gate import MOVED
from pipeline.registry.manifest import FeatureSchema
from pipeline.registry.reference import reference_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from pipeline.offline.backends import Workers
    from pipeline.offline.dataset.labels import LabelledWindow
    from pipeline.offline.dataset.reading import Cube, Dataset
    from pipeline.offline.training.blocks import Learners
    from pipeline.offline.training.recipe import Recipe
    from pipeline.registry.store import Store

    Floats = npt.NDArray[np.float64]

QUANTILES: Final = {"lower": 0.01, "middle": 0.5, "upper": 0.99}
COVERAGE: Final = "coverage"
_FEWEST_ROWS: Final = 500
_TOGETHER: Final = 500
"""Frames whose rows are drawn at once."""


class Rows(NamedTuple):
    """n values of signals: at int64[n] ms, what float64[n], from_what float64[n, features]."""

    at: npt.NDArray[np.int64]
    what: Floats
    from_what: Floats


def train_band(  # noqa: PLR0913  as `train`
    dataset: Dataset,
    recipe: Recipe,
    store: Store,
    seed: int,
    windows: Sequence[LabelledWindow] = (),
    workers: Workers = SERIAL,
    report: Callable[[str], None] = lambda _: None,
    *,
    learners: Learners,
) -> Trained:
    """Train the recipe on the dataset's frames and register the band with its card.

    Raises FileError where there is too little normal data, SettingsError where the recipe does not fit, ModelError
    where the band gives no threshold.
    """
    blocks = Blocks(dataset, recipe.signals, 0, seed, windows=windows)
    spans = split_of(dataset.span, recipe)
    parts = rows_of(blocks, spans, recipe.max_rows)
    report(f"fitting on {spans['fit']}")
    candidates = list(recipe.candidates(seed))
    fits = workers.map(_fit, [(one, parts["fit"], parts["calibrate"]) for _, one in candidates])
    tried = [(chosen, loss) for (chosen, _), (_, loss) in zip(candidates, fits, strict=True)]
    best = int(np.argmin([loss for _, loss in fits]))
    estimator = fits[best][0]
    schema = FeatureSchema(version=band_features.VERSION, names=band_features.names_of(blocks.signals))
    report(f"calibrating on {spans['calibrate']}")
    material = Material(dataset, blocks.signals, 0, seed, None, windows)
    normal, columns = banded(material, {NEW: Scorer(estimator, 0.0)}, spans["calibrate"])
    threshold = calibrate(columns[NEW].estimator, normal, spans["calibrate"], recipe.false_alarm_budget)
    report(f"evaluating on {spans['evaluate']}")
    seek = sought(dataset, spans["evaluate"], windows=windows)
    live = live_version(store, recipe.name)
    bands = {NEW: Scorer(estimator, threshold), **live_scorer(store, recipe.name, schema)}
    material = material._replace(injected=recipe.injected * len(spans), seek=seek)
    judged, scorers = banded(material, bands, spans["evaluate"])
    terms = Terms(seek.source, recipe.false_alarm_budget, seed)
    found = worth(judged.read(learners), spans["evaluate"], scorers, terms)
    cells = {name: cells_of(estimator, parts[name], len(blocks.signals)) for name in ("fit", "evaluate")}
    usual = stability.spread(cells["fit"])
    moved = {MOVED: stability.moved_share(stability.counted(cells["evaluate"]), usual)}
    metrics = {**found.metrics, **moved, **_worth(estimator, parts["fit"], parts["evaluate"])}
    data = artefact.dump(estimator)
    used = Span(spans["fit"].start, spans["evaluate"].end)
    origin = Origin(recipe, tried[best][0], seed, dataset, used, live if LIVE in scorers else None)
    reference = reference_of(recipe.kind, estimator, schema.names, parts["fit"].from_what)
    shares = stability.shares(stability.counted(cells["fit"]))
    manifest = manifest_of(origin, data, schema, metrics, threshold, shares, reference)
    subject = Subject(manifest, spans, dataset.fingerprint, metrics, [])
    return register(
        store, dataset, manifest, data, _with_band(card(subject, found.evaluation, found.intervals), metrics, tried)
    )


def band(estimator: Any, from_what: Floats) -> Floats:
    """Lower end, middle and upper end, float64[n, 3], in the scale of `models.offline.band_features`; in order."""
    return ends(estimator, from_what[:, None])[:, 0]


def _fit(regressor: Any, rows: Rows, later: Rows) -> tuple[Any, float]:
    """Fitted on rows, and its loss on later ones."""
    found = fitted(regressor, rows)
    return found, float(sum(_losses(found, later).values()))


def fitted(regressor: Any, rows: Rows) -> Any:
    """Lower end, middle and upper end in one estimator, each a copy of the regressor fitted on these rows."""
    # What no row knows, such as a week ago in five days of data, cannot be binned: nothing is learned from it.
    unknown = np.isnan(rows.from_what).all(axis=0)
    from_what = np.where(unknown, 0.0, rows.from_what)
    found = MultiOutputRegressor(regressor)
    found.estimators_ = [_end(regressor, quantile).fit(from_what, rows.what) for quantile in QUANTILES.values()]
    return found


def _end(regressor: Any, quantile: float) -> Any:
    return clone(regressor).set_params(loss="quantile", quantile=quantile)


def rows_of(blocks: Blocks, spans: Mapping[str, Span], limit: int) -> dict[str, Rows]:
    """Normal values of each span, at most `limit`; each service is read once. Raises FileError where too few are left.

    No more than those and a block are in memory.
    """
    drawn = {name: Drawn(limit) for name in spans}
    for cube in blocks.cubes():
        _draw(cube, ~blocks.abnormal(cube), spans, drawn)
    for name, span in spans.items():
        if len(drawn[name]) < _FEWEST_ROWS:
            raise FileError(
                f"{span}: only {len(drawn[name])} normal values are left after labelled trouble and maintenance "
                f"windows; {_FEWEST_ROWS} are needed: export a longer range"
            )
    return {name: Rows(*one.columns) for name, one in drawn.items()}


def _draw(cube: Cube, normal: npt.NDArray[np.bool_], spans: Mapping[str, Span], drawn: Mapping[str, Drawn]) -> None:
    """Rows of a block, slot by slot as they are predicted; normal bool[t, s]."""
    features = band_features.BandFeatures(*cube.value.shape[1:])
    table, slot = features.table(), features.slot
    waiting: dict[str, list[tuple[Any, ...]]] = {name: [] for name in spans}
    for at, start in enumerate(cube.start.tolist()):
        away = features.advance(cube.value[at], start, cube.step_ms)
        if features.slot != slot:
            table, slot = features.table(), features.slot
        for name, span in spans.items():
            if span.start <= start < span.end:
                service, signal = np.nonzero(normal[at][:, None] & np.isfinite(away))
                when = np.full(len(service), start)
                waiting[name].append((when, away[service, signal], table[service, signal]))
                if len(waiting[name]) >= _TOGETHER:
                    drawn[name].add(tuple(map(np.concatenate, zip(*waiting.pop(name), strict=True))))
                    waiting[name] = []
    for name, parts in waiting.items():
        if parts:
            drawn[name].add(tuple(map(np.concatenate, zip(*parts, strict=True))))


def cells_of(estimator: Any, rows: Rows, signals: int) -> Floats:
    """How far values are from the middles of their bands, float64[n, signals] in order of time; NaN for other signals.

    That is what a band's world is known by: where it lies otherwise, the band was made for another.
    """
    found = np.full((len(rows.at), signals), np.nan)
    of = rows.from_what[:, band_features.NAMES.index("signal")].astype(np.int64)
    found[np.arange(len(of)), of] = beyond(rows.what, band(estimator, rows.from_what))
    return found[np.argsort(rows.at, kind="stable")]


def _pinball(what: Floats, said: Floats, quantile: float) -> float:
    away = what - said
    return float(np.maximum(quantile * away, (quantile - 1) * away).mean())


def _losses(estimator: Any, rows: Rows) -> dict[str, float]:
    said = band(estimator, rows.from_what)
    return {name: _pinball(rows.what, said[:, at], quantile) for at, (name, quantile) in enumerate(QUANTILES.items())}


def _worth(estimator: Any, fitted_on: Rows, judged: Rows) -> dict[str, float]:
    said, losses = band(estimator, judged.from_what), _losses(estimator, judged)
    plain = _by_hour(fitted_on, judged)
    without = sum(_pinball(judged.what, plain[:, at], quantile) for at, quantile in enumerate(QUANTILES.values()))
    return {
        COVERAGE: float(((judged.what >= said[:, 0]) & (judged.what <= said[:, 2])).mean()),
        "coverage_wanted": QUANTILES["upper"] - QUANTILES["lower"],
        "width": float((said[:, 2] - said[:, 0]).mean()),
        "width_by_hour": float((plain[:, 2] - plain[:, 0]).mean()),
        **{f"pinball_{name}": loss for name, loss in losses.items()},
        "pinball": sum(losses.values()),
        "pinball_by_hour": without,
    }


def _by_hour(fitted_on: Rows, judged: Rows) -> Floats:
    """The band without a model: quantiles of each signal's hours of the day, float64[n, 3]."""
    whole = np.quantile(fitted_on.what, [*QUANTILES.values()])
    found = np.tile(whole, (len(judged.at), 1))
    mine, theirs = _cell(fitted_on), _cell(judged)
    for cell in np.unique(theirs):
        seen = fitted_on.what[mine == cell]
        if len(seen) >= 1 / QUANTILES["lower"]:
            found[theirs == cell] = np.quantile(seen, [*QUANTILES.values()])
    return found


def _cell(rows: Rows) -> npt.NDArray[np.int64]:
    signal = rows.from_what[:, band_features.NAMES.index("signal")].astype(np.int64)
    return 24 * signal + rows.at // 3_600_000 % 24


def _with_band(
    files: dict[str, bytes], metrics: Mapping[str, float], tried: list[tuple[dict[str, Any], float]]
) -> dict[str, bytes]:
    """The card of what judges services, and what the band is worth as one."""
    search = [{"parameters": parameters, "pinball": loss} for parameters, loss in tried]
    plain = {**json.loads(files["card.json"]), "search": search}
    text = files["card.md"].decode() + "\n".join(_markdown(metrics, tried)) + "\n"
    return {**files, "card.md": text.encode(), "card.json": (json.dumps(plain, indent=1) + "\n").encode()}


def _markdown(metrics: Mapping[str, float], tried: list[tuple[dict[str, Any], float]]) -> Iterator[str]:
    yield from ("", "## The band itself", "", "| | this band | quantiles of each hour |", "|---|---|---|")
    yield f"| pinball loss, three quantiles together | {metrics['pinball']:.4f} | {metrics['pinball_by_hour']:.4f} |"
    yield f"| width, in deviations | {metrics['width']:.2f} | {metrics['width_by_hour']:.2f} |"
    yield f"| normal values within ({metrics['coverage_wanted']:.0%} wanted) | {metrics[COVERAGE]:.1%} | |"
    yield from ("", "| parameters | pinball loss |", "|---|---|")
    yield from (f"| {parameters} | {loss:.4f} |" for parameters, loss in tried)
