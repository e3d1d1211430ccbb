"""The options of a training: defaults of the size, overridden by tuning results, overridden by explicit options."""

from collections.abc import Mapping
from typing import Any, TypeVar

from components.shared.options import Options, merged
from components.shared.tuning.hyperparameters import read_hyperparameters
from components.shared.tuning.search_space import SearchSpace

Training = TypeVar("Training", bound=Options)


def configured(
    base: Training, options: type[Options], given: Mapping[str, Any], model: str, space: SearchSpace
) -> Training:
    """Merge the options of a training.

    Args:
        base: Those of its size, and `launch`, which is no option of the section.
        options: Model of the section.
        given: Values of the section; its `hyperparameters` are what tuning found.
        model: Name of the section and of the model in hyperparameters.json.
        space: What may be tuned.

    Raises:
        InputError: names the path of a value that cannot be used, or a hyper-parameter that cannot.
    """
    text = options.read(given, model).model_dump()["hyperparameters"]
    found = space.apply(base, read_hyperparameters(text, model).values) if text else base
    tuned = found.model_dump(mode="json", exclude_unset=True, exclude={"launch"})
    result = options.read(merged(tuned, given), model)
    return base.replace(**{name: getattr(result, name) for name in result.model_fields_set})
