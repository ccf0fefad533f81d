"""Recipes: what to train, as YAML or as Python."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator
from sklearn.base import BaseEstimator

from pipeline.configfile import load_model, nearest
from pipeline.errors import SettingsError
from pipeline.registry.manifest import EVERY_SERVICE, JUDGES, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_FUNCTION: Final = re.compile(r"[^:]+\.py:[A-Za-z_]\w*")
Share = Annotated[float, Field(gt=0, lt=1)]


_NEEDS: Final = {
    Kind.DETECTOR: "score_samples",
    Kind.RANKER: "predict_proba",
    Kind.BAND: "predict",
    Kind.PRIORS: "predict",
}
_EXAMPLES: Final = {
    Kind.DETECTOR: "IsolationForest and PCA",
    Kind.RANKER: "HistGradientBoostingClassifier",
    Kind.BAND: "HistGradientBoostingRegressor",
    Kind.PRIORS: "DummyRegressor",
}


class Recipe(BaseModel):
    """How to train one model."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="Of the model in the registry")]
    kind: Kind = Field(default=Kind.DETECTOR, description="What the model is for")
    estimator: Annotated[
        str,
        Field(
            pattern=rf"^(sklearn(\.\w+)+|{_FUNCTION.pattern})$", description="A scikit-learn class, or FILE.py:FUNCTION"
        ),
    ]
    parameters: dict[str, Any] = Field(default_factory=dict, description="Its parameters")
    search: dict[str, list[Any]] = Field(default_factory=dict, description="Values to try, by parameter")
    services: Annotated[
        str, Field(min_length=1, description="Whose model it is: a regular expression for whole names of services")
    ] = EVERY_SERVICE
    signals: list[str] = Field(default_factory=list, description="Signals to use; empty: all that the dataset has")
    fit_share: Share = Field(default=0.6, description="Share of the time to fit and search on, the first")
    calibrate_share: Share = Field(default=0.2, description="Share after it, for the threshold; the rest evaluates")
    gap_s: Annotated[float, Field(ge=0, description="Between the parts: seconds that nobody uses")] = 3600.0
    false_alarm_budget: Annotated[float, Field(gt=0, description="False alarms per service and day")] = 0.5
    injected: Annotated[int, Field(ge=3, le=1000, description="Anomalies put into each service to evaluate")] = 12
    max_rows: Annotated[int, Field(ge=1000, description="Rows to fit on; of more as many are drawn")] = 200_000

    @model_validator(mode="after")
    def _services_are_judged(self) -> Recipe:
        try:
            re.compile(self.services)
        except re.error as error:
            raise ValueError(f"services: {self.services!r} is no regular expression ({error})") from error
        if self.services != EVERY_SERVICE and self.kind not in JUDGES:
            raise ValueError(f"services: a {self.kind} is for every service; leave it out")
        return self

    def candidates(self, seed: int) -> Iterator[tuple[dict[str, Any], Any]]:
        """Each combination of parameters to try, with its estimator, not yet fitted. Raises SettingsError."""
        make = self._maker()
        known = make().get_params()
        for values in itertools.product(*self.search.values()):
            parameters = {**self.parameters, **dict(zip(self.search, values, strict=True))}
            for name in parameters:
                if name not in known:
                    raise SettingsError(
                        f"recipe {self.name}: {self.estimator} has no parameter {name!r}{nearest(name, known)}"
                    )
            seeded = {name: seed for name in known if name.split("__")[-1] == "random_state"}
            yield parameters, make().set_params(**{**seeded, **parameters})

    def check(self) -> None:
        """Whether its estimators can be made. Raises SettingsError that says what cannot."""
        for _ in self.candidates(0):
            pass

    def _maker(self) -> Callable[[], Any]:
        """What makes the estimator, not yet fitted. Raises SettingsError where there is no such, or not for this."""
        function = _FUNCTION.fullmatch(self.estimator)
        make = _function(self.estimator) if function else _estimator_class(self.estimator)
        made = make()
        if not (isinstance(made, BaseEstimator) and hasattr(made, _NEEDS[self.kind])):
            raise SettingsError(
                f"{self.estimator} is no estimator that can be a {self.kind}: it has no {_NEEDS[self.kind]}; "
                f"{_EXAMPLES[self.kind]} are, for instance"
            )
        return make


def load_recipe(given: str, config_dir: Path) -> Recipe:
    """The recipe in this YAML file, of this Python function (FILE.py:FUNCTION), or the shipped one of that name.

    Raises SettingsError with file, line and key.
    """
    if _FUNCTION.fullmatch(given):
        name = re.sub(r"[^a-z0-9.]+", "-", given.rpartition(":")[2].lower()).strip("-.") or "model"
        return Recipe(name=name, estimator=given)
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
    if not (inspect.isclass(kind) and issubclass(kind, BaseEstimator)):
        raise SettingsError(f"{name} is no estimator; name a class of scikit-learn")
    return kind


def _function(place: str) -> Callable[[], Any]:
    file, _, name = place.rpartition(":")
    found = importlib.util.spec_from_file_location(Path(file).stem, file)
    try:
        if found is None or found.loader is None:
            raise ImportError("no Python file")  # noqa: TRY301  said like the other reasons
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        function = getattr(module, name)
        function()
    except Exception as error:  # whatever the person's own code raises
        raise SettingsError(
            f"{place}: gives no estimator ({error!r}); name a function without arguments that returns one"
        ) from error
    made: Callable[[], Any] = function
    return made


def plain(recipe: Recipe, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe as the manifest keeps it, with the parameters that the search chose."""
    return {**recipe.model_dump(mode="json"), "chosen": dict(chosen)}
