"""The options of a training: defaults of the size, overridden by tuning results, overridden by explicit options."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from components.shared.options import Options, merged
from components.shared.schema.sizes import Size, size_named
from components.shared.training.launch import LaunchConfig, TrainingOptions
from components.shared.tuning.hyperparameters import read_hyperparameters
from components.shared.tuning.search_space import SearchSpace

Training = TypeVar("Training", bound=Options)
Made = TypeVar("Made", covariant=True)


class Sized(Protocol[Made]):
    """A training whose defaults depend on the size."""

    def from_size(self, size: Size, seed: int, launch: LaunchConfig) -> Made:
        """Return the defaults of a size."""
        ...


def sized(
    training: Sized[Made], size: str, seed: int, section: Mapping[str, Any], task_config: Any = None
) -> Made:  # fmt: skip
    """Return the defaults of a size, with launch settings from section `training` and the step's pod.

    Args:
        training: RetrieverTraining or RankerTraining.
        size: tiny, small or full.
        seed: Seed of all random choices.
        section: Section `training`.
        task_config: KFP's TaskConfig of the step, or None.

    Raises:
        InputError: the size is unknown, or a value is invalid (names its path).
    """
    launch = LaunchConfig.of(TrainingOptions.read(section, "training"), task_config)
    return training.from_size(size_named(size), seed, launch)


def configured(
    base: Training, options: type[Options], given: Mapping[str, Any], model: str, space: SearchSpace
) -> Training:
    """Merge the options of a training.

    Args:
        base: Defaults of the size, and `launch`, which is not an option of the section.
        options: Options class of the section.
        given: Values of the section; `hyperparameters` is the result of tuning.
        model: Name of the section and of the model in hyperparameters.json.
        space: Search space of the model.

    Raises:
        InputError: a value or a hyperparameter is invalid (names its path).
    """
    text = options.read(given, model).model_dump()["hyperparameters"]
    found = space.apply(base, read_hyperparameters(text, model).values) if text else base
    tuned = found.model_dump(mode="json", exclude_unset=True, exclude={"launch"})
    result = options.read(merged(tuned, given), model)
    return base.replace(**{name: getattr(result, name) for name in result.model_fields_set})
