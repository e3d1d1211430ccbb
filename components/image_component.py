"""The decorator of every stage's component: KFP runs the function from the image, whose code is this package.

KFP's own decorator writes the function's source into the YAML, and Argo copies it into the status of every step's node
until the run's page no longer loads. Here the YAML holds its name.
"""

import os
from collections.abc import Callable
from typing import Any

from components import step


def image_component(base_image: str, passes_task_config: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Make a KFP component of a function of a module in the image.

    Args:
        base_image: The image; it holds kfp and this package, so nothing is installed at run time. The function is
            `components.STAGE.component.STAGE`.
        passes_task_config: Whether the step gets its pod's settings (`dsl.TaskConfig`) for the nodes of a TrainJob.
            They apply to the step's pod too: with launch=process it trains, otherwise it prepares and waits.

    Returns:
        A decorator; within a step, where KFP calls the function itself, it returns the function.
    """
    if os.environ.get("_KFP_RUNTIME") == "true":
        return lambda function: function
    from kfp import dsl

    passed: list[Any] = [dsl.TaskConfigPassthrough(field=field, apply_to_task=True) for field in dsl.TaskConfigField]

    def decorate(function: Callable[..., Any]) -> Any:
        made: Any = dsl.component(
            function, base_image=base_image, install_kfp_package=False,
            task_config_passthroughs=passed if passes_task_config else None,
        )  # fmt: skip
        container = made.component_spec.implementation.container
        container.command = ["python3", "-m", step.__name__]
        container.args = [step.EXECUTOR, function.__name__, "--executor_input", container.args[1]]
        return made

    return decorate
