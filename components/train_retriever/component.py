"""KFP component of the retriever stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.image_component import image_component
from components.shared.images import TRAIN_IMAGE


@image_component(TRAIN_IMAGE, passes_task_config=True)
def train_retriever(
    features: Input[Dataset],
    model: Output[Model],
    summary: Output[Metrics],
    task_config: dsl.TaskConfig,
    size: str = "small",
    seed: int = 0,
    training: dict = {},  # noqa: B006 - KFP takes the default as a constant
    retriever: dict = {},  # noqa: B006
    hyperparameters: str = "",
    fingerprint: str = "",
):
    """Train the two-tower retriever with TorchRec, in this pod or as a TrainJob of several nodes.

    Args:
        features: Output of build_features.
        task_config: Settings of the step's pod for the nodes of a TrainJob; filled in by KFP.
        size: tiny, small or full; sets the defaults.
        seed: Seed of initial weights, order and sampling.
        training: Options of components/shared/training/launch.py, TrainingOptions; {}: in this pod.
        retriever: Options of components/train_retriever/config.py, RetrieverOptions; {}: the defaults.
        hyperparameters: Result of a tuning step, replaces the option of that name; empty: none.
        fingerprint: Fingerprint of the file of `retriever.hyperparameters`, for KFP's cache; the step does not read it.

    Returns:
        model: Weights (safetensors), shape and learning curve.
        summary: Best validation recall and its epoch.
    """
    from pathlib import Path

    from components.train_retriever import stage

    found = {"hyperparameters": hyperparameters} if hyperparameters else {}
    config = stage.training_for(size, seed, {**retriever, **found}, training, task_config)
    for name, value in stage.run(Path(features.path), Path(model.path), config).items():
        summary.log_metric(name, value)
