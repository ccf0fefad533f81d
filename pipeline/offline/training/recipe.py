"""Recipes: what to train, as YAML or as Python."""

from __future__ import annotations

import importlib
import inspect
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from sklearn.base import BaseEstimator

from pipeline.configfile import load_model, nearest
from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Share = Annotated[float, Field(gt=0, lt=1)]


class Recipe(BaseModel):
    """How to train one model."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="Of the model in the registry")]
    estimator: Annotated[
        str, Field(pattern=r"^sklearn(\.\w+)+$", description="A scikit-learn class that has score_samples")
    ]
    parameters: dict[str, Any] = Field(default_factory=dict, description="Its parameters")
    search: dict[str, list[Any]] = Field(default_factory=dict, description="Values to try, by parameter")
    signals: list[str] = Field(default_factory=list, description="Signals to use; empty: all that the dataset has")
    fit_share: Share = Field(default=0.6, description="Share of the time to fit and search on, the first")
    calibrate_share: Share = Field(default=0.2, description="Share after it, for the threshold; the rest evaluates")
    gap_s: Annotated[float, Field(ge=0, description="Between the parts: seconds that nobody uses")] = 3600.0
    false_alarm_budget: Annotated[float, Field(gt=0, description="False alarms per service and day")] = 0.5
    injected: Annotated[int, Field(ge=3, le=1000, description="Anomalies put into each service to evaluate")] = 9
    max_rows: Annotated[int, Field(ge=1000, description="Rows to fit on; more are thinned out evenly")] = 200_000

    def candidates(self, seed: int) -> Iterator[tuple[dict[str, Any], Any]]:
        """Each combination of parameters to try, with its estimator, not yet fitted. Raises SettingsError."""
        kind = _estimator_class(self.estimator)
        known = inspect.signature(kind).parameters
        for values in itertools.product(*self.search.values()):
            parameters = {**self.parameters, **dict(zip(self.search, values, strict=True))}
            for name in parameters:
                if name not in known:
                    raise SettingsError(
                        f"recipe {self.name}: {self.estimator} has no parameter {name!r}{nearest(name, known)}"
                    )
            seeded = {"random_state": seed} if "random_state" in known else {}
            yield parameters, kind(**{**seeded, **parameters})


def load_recipe(given: str, config_dir: Path) -> Recipe:
    """The recipe in this YAML file, or the shipped one of that name. Raises SettingsError with file, line and key."""
    path = Path(given)
    if path.suffix not in (".yaml", ".yml"):
        folder = config_dir / "training"
        path = folder / f"{given}.yaml"
        shipped = sorted(one.stem for one in folder.glob("*.yaml"))
        if given not in shipped:
            raise SettingsError(
                f"no recipe is called {given!r}; there are {', '.join(shipped)}{nearest(given, shipped)}"
            )
    return load_model(path, Recipe)


def _estimator_class(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        kind: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"there is no estimator {name!r} ({error}); name a class of scikit-learn") from error
    if not (inspect.isclass(kind) and issubclass(kind, BaseEstimator) and hasattr(kind, "score_samples")):
        raise SettingsError(f"{name} is no estimator that scores samples; IsolationForest and PCA are, for instance")
    return kind


def plain(recipe: Recipe, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe as the manifest keeps it, with the parameters that the search chose."""
    return {**recipe.model_dump(mode="json"), "chosen": dict(chosen)}
