"""hyperparameters.json: the result of tuning one model, an input of the training stages."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared.errors import InputError
from components.shared.storage import read_json, write_json
from components.shared.tuning.search_space import Value

FILE = "hyperparameters.json"


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """The best configuration of a study."""

    model: str
    """Name of the model: retriever or ranker."""
    values: Mapping[str, Value]
    """Field of the model's configuration -> value; dots separate the fields of nested configurations."""
    metric: str = ""
    """Name of the validation metric that selected the values."""
    value: float | None = None
    """Metric with these values; for a finalist, the mean over seeds."""
    default_value: float | None = None
    """Metric with the defaults."""
    trial: int | None = None
    """Number of the trial."""
    study: str = ""
    """Name of the study."""
    trials: int = 0
    """Number of trials that used the budget."""
    seed: int = 0
    """Seed of the sampler and of every trial's training."""
    features: str = ""
    """Digest of the tuning data."""

    def write(self, folder: Path) -> None:
        """Write FILE into a folder."""
        write_json(folder / FILE, dataclasses.asdict(self))

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of the pipeline; only `trials` before a trial is complete."""
        found = {"best": self.value, "defaults": self.default_value, "trials": float(self.trials)}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def text(self) -> str:
        """One line of JSON, for a pipeline parameter."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


def read_hyperparameters(given: str, model: str) -> Hyperparameters:
    """Read hyperparameters given by the user or an earlier step.

    Args:
        given: The JSON itself, its file, or the folder that contains FILE. Only `model` and `values` are required.
        model: Expected name of the model.

    Raises:
        InputError: the file does not exist, its JSON is invalid, or it belongs to another model.
    """
    raw = _parsed(given)
    fields = {field.name for field in dataclasses.fields(Hyperparameters)}
    for name in ("model", "values"):
        if name not in raw:
            raise InputError(f"hyperparameters: '{name}' is missing", f"give the result of tuning ({FILE})")
    if unknown := sorted(raw.keys() - fields):
        raise InputError(f"hyperparameters: '{unknown[0]}' is not a field", f"use some of: {', '.join(sorted(fields))}")
    if raw["model"] != model:
        raise InputError(f"hyperparameters: 'model' is {raw['model']!r}, not '{model}'",
                         f"give the result of tuning the {model}")  # fmt: skip
    if not isinstance(raw["values"], dict):
        raise InputError(f"hyperparameters: 'values' is {raw['values']!r}", "give an object of fields and values")
    return Hyperparameters(**raw)


def _parsed(given: str) -> dict[str, Any]:
    if given.lstrip().startswith("{"):
        try:
            raw = json.loads(given)
        except json.JSONDecodeError as error:
            raise InputError(f"hyperparameters is not JSON: {error}", f"give the result of tuning ({FILE})") from error
    else:
        path = Path(given)
        try:
            raw = read_json(path / FILE if path.is_dir() else path)
        except InputError as error:
            raise InputError(f"hyperparameters: {error.headline}", error.fix) from error
    if not isinstance(raw, dict):
        raise InputError(f"hyperparameters is {raw!r}, not an object", f"give the result of tuning ({FILE})")
    return raw
